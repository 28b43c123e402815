"""Whatever the order of messages, turns, loads, crashes and passivations: each message ends once and in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from bitnexus.actors.runtime.light import Crash, LightActor, LightActors, Limits
from bitnexus.errors import BitNexusError, DatabaseUnavailable, Overloaded

KEYS = strategies.sampled_from("abcdef")
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

    def __init__(self, key: str, house: LightActorMachine) -> None:
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


class LightActorMachine(RuleBasedStateMachine):
    """The table against a plain model: per key the numbers accepted, and where each of them ended."""

    loads = Bundle("loads")

    def __init__(self) -> None:
        super().__init__()
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

    @rule(key=KEYS, what=strategies.sampled_from(["note", "note", "note", "begin", "end", "die"]))
    def tell(self, key: str, what: str) -> None:
        self.number += 1
        try:
            self.actors.tell(key, (self.number, what), None)
        except Overloaded:
            return
        self.accepted[key].append(self.number)

    @rule(key=KEYS)
    def answer_arrives(self, key: str) -> None:
        if key in self.actors:
            self.number += 1
            self.actors.tell(key, (self.number, "end"), None, bounded=False)
            self.accepted[key].append(self.number)

    @rule()
    def loop_turns(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            self.this_turn.clear()
            callback()
            assert sum(self.this_turn.values()) <= LIMITS.turn_messages

    @rule(state=strategies.sampled_from(["good", "good", "good", "none", "broken"]))
    def load_ends(self, state: str) -> None:
        if self.started_loads:
            keys = self.started_loads.pop(0)
            self.actors.loaded(keys, {} if state == "none" else dict.fromkeys(keys, state))

    @rule(error=strategies.sampled_from([DatabaseUnavailable(), ValueError("bug")]))
    def load_fails(self, error: Exception) -> None:
        if self.started_loads:
            self.actors.load_failed(self.started_loads.pop(0), error)

    @rule(seconds=strategies.floats(0, 6))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        at_work = [worker for worker in self.live.values() if worker.in_use and not worker.ended]
        self.actors.sweep(self.now_s)
        assert not any(worker.ended for worker in at_work), "forgotten with work in flight"

    @rule(key=KEYS)
    def retire(self, key: str) -> None:
        self.actors.retire(key)

    @rule(restart=strategies.booleans())
    def supervisor_decides(self, restart: bool) -> None:
        self.restart = restart

    # -- what must hold ---------------------------------------------------------------------------------------

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.actors) + self.actors.activating <= LIMITS.max_actors
        assert self.actors.activating <= LIMITS.max_activating + 1  # a crashed actor comes back in any case

    @invariant()
    def order_holds(self) -> None:
        # What was received is in order; what was undelivered is so too, and may lie anywhere between.
        for key, ended in self.ended.items():
            failed = set(self.undelivered_of[key])
            received = [number for number in ended if number not in failed]
            assert received == sorted(received)
            assert self.undelivered_of[key] == sorted(self.undelivered_of[key])

    def teardown(self) -> None:
        for _ in range(1000):
            if not self.soon and not self.started_loads:
                break
            self.loop_turns()
            self.load_ends("good")
        for key, accepted in self.accepted.items():
            assert sorted(self.ended[key]) == accepted, "lost or received twice"


TestLightActors = LightActorMachine.TestCase
TestLightActors.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
