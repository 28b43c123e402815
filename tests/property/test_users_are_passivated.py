"""Users come and go in a small table: nobody at work or in doubt is forgotten, and who is idle longest makes room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bitnexus.actors.messages import Limit, LimitsSet, PostTransfer, TransferResult
from bitnexus.actors.runtime.light import Crash, LightActor, LightActors, Limits
from bitnexus.actors.transactions.allowance import DOUBT_US
from bitnexus.actors.transactions.user import Answered, Incoming, Outgoing, ToCaller, ToLedger, TransactionActor
from bitnexus.errors import BitNexusError, CallTimeout, Overloaded
from bitnexus.storage.user_limits import UserState

USERS = [f"u{number}" for number in range(12)]
LIMITS = Limits(max_actors=5, idle_s=4.0, tick_s=1.0, load_batch=3, loads=2, look_at=16)


class Partition:
    """The table as a partition has it: every second user has limits, the ledger answers when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.number = 0
        self.soon: list[Callable[[], None]] = []
        self.loads: list[list[str]] = []
        self.in_flight: list[tuple[TransactionActor[None], PostTransfer]] = []
        self.doubts: dict[int, float] = {}  # by the actor's identity: until when
        self.last_use: dict[str, int] = {}
        self.live: dict[str, TransactionActor[None]] = {}
        self.evicted = 0
        self.actors: LightActors[Incoming, None, Outgoing, UserState] = LightActors(
            self, LIMITS, now_s=0.0, schedule=self.soon.append, start_load=lambda keys: self.loads.append(list(keys))
        )

    # -- owner of the table ------------------------------------------------------------------------------------------

    def make(self, key: str, state: UserState | None) -> TransactionActor[None]:
        assert key not in self.live or self.live[key].ended, "two actors of one user"
        assert state is not None
        self.live[key] = TransactionActor(
            key, state.accounts, max_in_flight=3, clock=lambda: int(self.now_s * 1e6), limits=state.limits
        )
        return self.live[key]

    def emit(self, actor: LightActor[Incoming, None, Outgoing], output: Outgoing, context: None) -> None:
        assert isinstance(actor, TransactionActor)
        self.last_use[actor.key] = self.tick
        if isinstance(output, ToLedger):
            assert isinstance(output.command, PostTransfer)
            self.in_flight.append((actor, output.command))
        elif isinstance(output, ToCaller) and output.stale:
            self.actors.retire(actor.key)

    def undelivered(self, key: str, message: Incoming, context: None, error: BitNexusError) -> None:
        raise AssertionError(f"{message} of {key} was not delivered: {error}")

    def crashed(self, crash: Crash, context: object) -> bool:
        raise AssertionError(crash)

    @property
    def tick(self) -> int:
        return int(self.now_s / LIMITS.tick_s)

    # -- what may happen ---------------------------------------------------------------------------------------------

    def command(self, random: Random) -> None:
        self.number += 1
        key = random.choice(USERS)
        before = self.idle()
        full = len(self.actors) + self.actors.activating == LIMITS.max_actors and key not in self.actors
        try:
            tell = random.choice([self.actors.tell, self.actors.deliver])
            tell(key, PostTransfer(key, "user", f"t{self.number}", key, "x", 1, "USD/2"), None)
        except Overloaded:
            assert full
            assert not before, "there was one who was idle"
            return
        if full:
            (gone,) = [actor for actor in before if actor.ended]
            self.evicted += 1
            assert all(gone.used <= other.used for other in before), "one who was used later"

    def ledger_answers(self, random: Random) -> None:
        if not self.in_flight:
            return
        actor, command = self.in_flight.pop(random.randrange(len(self.in_flight)))
        lost = random.random() < 0.2
        result = CallTimeout() if lost else TransferResult(command.transfer_id, None, "exceeds_credits")
        assert not actor.ended, "forgotten while the ledger owed an answer"
        if lost and int(actor.key[1:]) % 2:
            self.doubts[id(actor)] = self.now_s + DOUBT_US / 1e6
        self.actors.deliver(actor.key, Answered(actor, command, result), None, bounded=False)

    def loop_turns(self, _: Random) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()

    def load_ends(self, _: Random) -> None:
        assert len(self.loads) <= LIMITS.loads
        if self.loads:
            keys = self.loads.pop(0)
            assert len(keys) <= LIMITS.load_batch
            self.actors.loaded(keys, {key: state_of(key) for key in keys})

    def time_passes(self, random: Random) -> None:
        self.now_s += random.choices([0.4, 1.0, 5.0, 70.0], [8, 4, 2, 1])[0]
        self.actors.sweep(self.now_s)
        for actor in self.active():
            assert actor.in_use or actor.used > self.tick - LIMITS.idle_s - 1, "idle and still here"

    # -- what must hold ----------------------------------------------------------------------------------------------

    def active(self) -> Sequence[LightActor[Incoming, None, Outgoing]]:
        return self.actors.page()

    def idle(self) -> list[LightActor[Incoming, None, Outgoing]]:
        return [actor for actor in self.active() if not actor.in_use]

    def nobody_at_work_is_forgotten(self) -> None:
        assert len(self.actors) + self.actors.activating <= LIMITS.max_actors
        assert not any(actor.ended for actor, _ in self.in_flight)
        for actor in self.live.values():
            if actor.ended:
                assert self.doubts.get(id(actor), 0.0) <= self.now_s, "forgotten while in doubt"
            else:
                assert actor.used >= self.last_use.get(actor.key, 0)


def state_of(key: str) -> UserState:
    limits = LimitsSet(key, 1, [Limit("USD/2", None, 1_000)], {"USD/2": 0}, 0, -1) if int(key[1:]) % 2 else None
    return UserState([key], limits)


WEIGHTS = {
    Partition.command: 40,
    Partition.ledger_answers: 40,
    Partition.loop_turns: 50,
    Partition.load_ends: 25,
    Partition.time_passes: 12,
}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_nobody_at_work_is_forgotten_and_who_was_idle_longest_makes_room(seed: int) -> None:
    random, partition = Random(seed), Partition()
    for happens in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=200):
        happens(partition, random)
        partition.nobody_at_work_is_forgotten()


def test_room_is_made_at_all() -> None:
    """Else the property above would say nothing of it."""
    random, partition = Random(1), Partition()
    for happens in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=2_000):
        happens(partition, random)
    assert partition.evicted > 0
    assert partition.doubts
