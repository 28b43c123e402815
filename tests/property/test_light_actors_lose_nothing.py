"""Whatever the order of messages, turns, loads, crashes and passivations: each message ends once and in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

from hypothesis import given, settings, strategies

from bitnexus.actors.runtime.light import Crash, LightActor, LightActors, Limits
from bitnexus.errors import BitNexusError, DatabaseUnavailable, Overloaded

KEYS = "abcdef"
LIMITS = Limits(
    max_actors=4,
    mailbox=5,
    actor_messages=2,
    turn_messages=5,
    idle_s=3,
    tick_s=1,
    max_activating=3,
    load_batch=2,
    loads=2,
    look_at=4,
)


class Worker(LightActor[tuple[int, str], None, None]):
    """Notes message numbers; "begin" puts work in flight, "end" takes it back, "die" raises."""

    __slots__ = ("house", "in_flight")

    def __init__(self, key: str, house: World) -> None:
        super().__init__(key)
        self.house = house
        self.in_flight = 0

    @property
    def busy(self) -> bool:
        return self.in_flight > 0

    def receive(self, message: tuple[int, str], context: None) -> None:
        number, what = message
        if what == "die":
            raise ValueError("told to die")
        self.in_flight += {"begin": 1, "end": -1}.get(what, 0)
        self.house.ended[self.key].append(number)
        self.house.this_turn[self.key] += 1


class World:
    """The table against a plain model: per key the numbers accepted, and where each of them ended."""

    def __init__(self) -> None:
        self.number = 0
        self.now_s = 0.0
        self.restart = True
        self.accepted: dict[str, list[int]] = defaultdict(list)
        self.ended: dict[str, list[int]] = defaultdict(list)
        self.undelivered_of: dict[str, list[int]] = defaultdict(list)
        self.this_turn: dict[str, int] = defaultdict(int)
        self.live: dict[str, Worker] = {}
        self.soon: list[Callable[[], None]] = []
        self.started_loads: list[list[str]] = []
        self.actors: LightActors[tuple[int, str], None, None, str] = LightActors(
            self, LIMITS, now_s=0.0, schedule=self.soon.append, start_load=self._load
        )

    def _load(self, keys: Sequence[str]) -> None:
        assert len(keys) <= LIMITS.load_batch
        self.started_loads.append(list(keys))
        assert len(self.started_loads) <= LIMITS.loads

    def make(self, key: str, state: str | None) -> Worker:
        if state == "broken":
            raise RuntimeError("cannot be made")
        old = self.live.get(key)
        assert old is None or old.ended, "two actors of one key"
        self.live[key] = Worker(key, self)
        return self.live[key]

    def emit(self, actor: LightActor[tuple[int, str], None, None], output: None, context: None) -> None:
        raise AssertionError("nothing goes out")

    def undelivered(self, key: str, message: tuple[int, str], context: None, error: BitNexusError) -> None:
        self.ended[key].append(message[0])
        self.undelivered_of[key].append(message[0])

    def crashed(self, crash: Crash, context: object) -> bool:
        return self.restart

    # -- what may happen --------------------------------------------------------------------------------------

    def tell(self, key: str, what: str, *, at_once: bool = False) -> None:
        self.number += 1
        give = self.actors.deliver if at_once else self.actors.tell
        try:
            give(key, (self.number, what), None)
        except Overloaded:
            return
        self.accepted[key].append(self.number)

    def answer_arrives(self, key: str) -> None:
        if key in self.actors:
            self.number += 1
            self.actors.deliver(key, (self.number, "end"), None, bounded=False)
            self.accepted[key].append(self.number)

    def loop_turns(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            self.this_turn.clear()
            callback()
            assert sum(self.this_turn.values()) <= LIMITS.turn_messages

    def load_ends(self, state: str) -> None:
        if self.started_loads:
            keys = self.started_loads.pop(0)
            self.actors.loaded(keys, {} if state == "none" else dict.fromkeys(keys, state))

    def load_fails(self, error: Exception) -> None:
        if self.started_loads:
            self.actors.load_failed(self.started_loads.pop(0), error)

    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        at_work = [worker for worker in self.live.values() if worker.in_use and not worker.ended]
        self.actors.sweep(self.now_s)
        assert not any(worker.ended for worker in at_work), "forgotten with work in flight"

    def retire(self, key: str) -> None:
        self.actors.retire(key)

    def supervisor_decides(self, restart: bool) -> None:
        self.restart = restart

    # -- what must hold ---------------------------------------------------------------------------------------

    def bounds_hold(self) -> None:
        assert len(self.actors) + self.actors.activating <= LIMITS.max_actors
        assert self.actors.activating <= LIMITS.max_activating + 1  # a crashed actor comes back in any case

    def order_holds(self) -> None:
        # What was received is in order; what was undelivered is so too, and may lie anywhere between.
        for key, ended in self.ended.items():
            failed = set(self.undelivered_of[key])
            received = [number for number in ended if number not in failed]
            assert received == sorted(received)
            assert self.undelivered_of[key] == sorted(self.undelivered_of[key])

    def settle(self) -> None:
        for _ in range(1000):
            if not self.soon and not self.started_loads:
                break
            self.loop_turns()
            self.load_ends("good")
        for key, accepted in self.accepted.items():
            assert sorted(self.ended[key]) == accepted, "lost or received twice"


# How often what happens, in a hundred and some.
WEIGHTS = {
    "tell": 45,
    "answer_arrives": 10,
    "loop_turns": 25,
    "load_ends": 15,
    "load_fails": 3,
    "time_passes": 5,
    "retire": 2,
    "supervisor_decides": 3,
}


def step(world: World, what: str, random: Random) -> None:
    key = random.choice(KEYS)
    if what == "tell":
        # In bursts, so that mailboxes fill.
        for _ in range(random.randint(1, 4)):
            what_now = random.choices(["note", "begin", "end", "die"], [12, 2, 3, 2])[0]
            world.tell(key, what_now, at_once=random.random() < 0.5)
    elif what in {"answer_arrives", "retire"}:
        getattr(world, what)(key)
    elif what == "load_ends":
        world.load_ends(random.choices(["good", "none", "broken"], [8, 1, 1])[0])
    elif what == "load_fails":
        world.load_fails(random.choice([DatabaseUnavailable(), ValueError("bug")]))
    elif what == "time_passes":
        world.time_passes(random.uniform(0, 6))
    elif what == "supervisor_decides":
        world.supervisor_decides(random.random() < 0.5)
    else:
        world.loop_turns()


@given(seed=strategies.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_every_message_is_received_once_or_failed_once_in_order_and_within_bounds(seed: int) -> None:
    random, world = Random(seed), World()
    for what in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=150):
        step(world, what, random)
        world.bounds_hold()
        world.order_holds()
    world.settle()
