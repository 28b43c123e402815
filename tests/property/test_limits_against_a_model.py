"""A user with limits before a ledger that is slow, dies, and is not always heard: nothing beyond them, nothing twice.

The ledger here is a list of what came, decided in order, with the ids that it knows; storage is what that list says.
What the design leaves open is left open here: an actor that crashes forgets what its last life has in the ledger until
it is answered; who has no limits forgets what is in doubt; and that is decided within `DOUBT_US` or never.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bitnexus.actors.ledger.commands import transfers_of
from bitnexus.actors.messages import (
    Limit,
    LimitsSet,
    PostTransfer,
    PostTransfers,
    SetLimits,
    Transfer,
    TransferRequest,
    TransferResult,
    TransferResults,
)
from bitnexus.actors.transactions.allowance import COUNTED, DAY_US, DOUBT_US
from bitnexus.actors.transactions.user import Answered, Outgoing, ToCaller, ToLedger, ToStorage, TransactionActor
from bitnexus.errors import CallTimeout, DatabaseUnavailable, ProcessDown, TooManyInFlight

ASSETS = ("USD/2", "EUR/2")
ACCOUNTS = {"USD/2": "u", "EUR/2": "e"}
BROKE = "exceeds_credits"
NUMBERS = 40


def request(number: int, *, linked: bool = False) -> TransferRequest:
    """The transfer of this number; a tenth of them are void, a fifth the ledger refuses."""
    asset = ASSETS[number % 2]
    kind = "void_pending" if number % 10 == 9 else "pending" if number % 5 == 1 else "post"
    to = "broke" if number % 5 == 3 else "rich"
    return TransferRequest(f"t{number}", ACCOUNTS[asset], to, 7 + number, asset, kind, linked=linked)


@dataclass(slots=True)
class Asked:
    """A command on its way: to the ledger, through it, and back."""

    sender: TransactionActor[None]
    command: PostTransfer | PostTransfers
    bounds: dict[str, int | None]  # the day's limits when it was passed on; empty if more was on its way than is known
    result: TransferResult | TransferResults | None = None
    given_up_us: int | None = None


@dataclass(slots=True)
class Change:
    """Limits on their way to storage and back."""

    sender: TransactionActor[None]
    command: SetLimits
    result: LimitsSet | None = None


@dataclass(slots=True)
class Books:
    """What the ledger and storage hold."""

    recorded: dict[str, TransferResult] = field(default_factory=dict)
    seq: int = 0
    version: int = 0
    limits: list[Limit] = field(default_factory=list)

    def spent(self, asset: str, day: int) -> int:
        return sum(
            each.transfer.amount
            for each in self.recorded.values()
            if each.transfer is not None
            and (each.transfer.asset, each.transfer.time_us // DAY_US) == (asset, day)
            and each.transfer.kind in COUNTED
        )

    def limits_set(self, day: int) -> LimitsSet:
        spent = {limit.asset: self.spent(limit.asset, day) for limit in self.limits}
        return LimitsSet("u1", self.version, list(self.limits), spent, day, self.seq)


class LimitedUser:
    """The actor, and all that it may meet."""

    def __init__(self) -> None:
        self.now_us = 20_000 * DAY_US
        self.books = Books()
        self.pipe: list[Asked] = []
        self.changes: list[Change] = []
        self.stale = False
        self.actor = self.activated()

    def activated(self) -> TransactionActor[None]:
        limits = self.books.limits_set(self.today) if self.books.limits else None
        self.stale = False
        return TransactionActor("u1", ("u", "e"), max_in_flight=4, clock=lambda: self.now_us, limits=limits)

    @property
    def today(self) -> int:
        return self.now_us // DAY_US

    @property
    def known(self) -> dict[str, Limit]:
        return {} if self.actor._allowance is None else dict(self.actor._allowance.limits)

    def tell(self, sender: TransactionActor[None], command, result) -> None:
        out = self.actor.receive(Answered(sender, command, result), None)
        assert isinstance(out, ToCaller)
        assert out.result is result
        self.stale = self.stale or out.stale

    # -- commands ----------------------------------------------------------------------------------------------------

    def one(self, random: Random) -> None:
        made = request(random.randrange(NUMBERS))
        if made.kind == "post":
            fields = (made.transfer_id, made.debit_account_id, made.credit_account_id, made.amount, made.asset)
            self.send(PostTransfer("u1", "user", *fields))
        else:
            self.send(PostTransfers("u1", "user", [made]))

    def several(self, random: Random) -> None:
        numbers = random.sample(range(NUMBERS), random.randint(2, 4))
        links = [random.random() < 0.3 for _ in numbers[1:]] + [False]
        transfers = [request(number, linked=linked) for number, linked in zip(numbers, links, strict=True)]
        self.send(PostTransfers("u1", "user", transfers))

    def send(self, command: PostTransfer | PostTransfers) -> None:
        strangers = any(asked.sender is not self.actor or not asked.bounds for asked in self.pipe)
        exact = not self.pipe and not self.changes and not self.actor.busy
        out: Outgoing = self.actor.receive(command, None)
        if isinstance(out, ToCaller):
            assert isinstance(out.result, TooManyInFlight)
            return
        assert isinstance(out, ToLedger)
        passed = out.command
        assert isinstance(passed, PostTransfer | PostTransfers)
        if exact and not self.stale:
            self.refused_exactly_what_is_beyond(passed)
        bounds = {asset: limit.per_day for asset, limit in self.known.items()} if self.known else {}
        self.pipe.append(Asked(self.actor, passed, {} if strangers else bounds))

    def refused_exactly_what_is_beyond(self, passed: PostTransfer | PostTransfers) -> None:
        """Only of commands without chains: what stands in one is taken or not taken together."""
        transfers = transfers_of(passed)
        if any(each.linked for each in transfers):
            return
        spent = {asset: self.books.spent(asset, self.today) for asset in ASSETS}
        for each in transfers:
            limit = self.known.get(each.asset)
            expected = ""
            if limit is not None and each.kind in COUNTED:
                if limit.per_transfer is not None and each.amount > limit.per_transfer:
                    expected = "transfer_limit_exceeded"
                elif limit.per_day is not None and spent[each.asset] + each.amount > limit.per_day:
                    expected = "daily_limit_exceeded"
            assert each.refuse == expected
            if not expected and each.kind in COUNTED:
                spent[each.asset] += each.amount

    # -- the ledger --------------------------------------------------------------------------------------------------

    def ledger_decides(self, random: Random) -> None:
        for asked in [each for each in self.pipe if each.result is None][: random.randint(1, 4)]:
            if asked.given_up_us is not None and self.now_us - asked.given_up_us >= DOUBT_US:
                self.pipe.remove(asked)
                continue
            results: list[TransferResult] = []
            chain: list[TransferRequest | PostTransfer] = []
            for each in transfers_of(asked.command):
                chain.append(each)
                if not each.linked:
                    results += self.decide(chain, asked)
                    chain = []
            asked.result = results[0] if isinstance(asked.command, PostTransfer) else TransferResults(results)

    def decide(self, chain, asked: Asked) -> list[TransferResult]:
        recorded = self.books.recorded
        if any(each.transfer_id in recorded for each in chain):
            failed = len(chain) > 1
            for each in chain:
                if failed and each.transfer_id not in recorded:
                    recorded[each.transfer_id] = TransferResult(each.transfer_id, None, "linked_event_failed")
            return [recorded[each.transfer_id] for each in chain]
        broken = [each.refuse or (BROKE if each.credit_account_id == "broke" else "") for each in chain]
        for each, refusal in zip(chain, broken, strict=True):
            id_ = each.transfer_id
            if any(broken):
                recorded[id_] = TransferResult(id_, None, refusal or "linked_event_failed")
                continue
            self.books.seq += 1
            place = (self.books.seq, self.books.seq, self.now_us, 0, 0)
            fields = (id_, each.debit_account_id, "rich", each.amount, each.asset, 0, "", "", "u1")
            recorded[id_] = TransferResult(id_, Transfer(*fields, *place, kind=each.kind))
            bound = asked.bounds.get(each.asset)
            if bound is not None and each.kind in COUNTED:
                assert self.books.spent(each.asset, self.today) <= bound, "beyond the limit"
        return [recorded[each.transfer_id] for each in chain]

    def answer_comes(self, _: Random) -> None:
        while self.pipe and self.pipe[0].result is not None:
            asked = self.pipe.pop(0)
            if asked.given_up_us is None:
                self.tell(asked.sender, asked.command, asked.result)
                return

    def nobody_waits_any_longer(self, random: Random) -> None:
        waited = [asked for asked in self.pipe if asked.given_up_us is None]
        if waited:
            asked = random.choice(waited)
            asked.given_up_us = self.now_us
            if self.actor._allowance is None and asked.result is None:
                self.pipe.remove(asked)
            self.tell(asked.sender, asked.command, random.choice([CallTimeout, ProcessDown])())

    def ledger_refuses_to_begin(self, random: Random) -> None:
        waiting = [asked for asked in self.pipe if asked.result is None and asked.given_up_us is None]
        if waiting:
            asked = random.choice(waiting)
            self.pipe.remove(asked)
            self.tell(asked.sender, asked.command, DatabaseUnavailable())

    def ledger_dies_and_is_asked_again(self, _: Random) -> None:
        self.pipe = [asked for asked in self.pipe if asked.given_up_us is None]
        for asked in self.pipe:
            asked.result = None

    # -- limits ------------------------------------------------------------------------------------------------------

    def set_limits(self, random: Random) -> None:
        limits = [
            Limit(asset, random.choice([None, None, 20, 40]), random.choice([0, 60, 100, 150]))
            for asset in ASSETS
            if random.random() < 0.6
        ]
        command = SetLimits("u1", "admin", "a1", limits)
        assert self.actor.receive(command, None) == ToStorage(command)
        self.changes.append(Change(self.actor, command))

    def storage_keeps(self, random: Random) -> None:
        waiting = [change for change in self.changes if change.result is None]
        if waiting:
            change = random.choice(waiting)
            self.books.version += 1
            self.books.limits = change.command.limits
            change.result = self.books.limits_set(self.today)

    def storage_answers(self, random: Random) -> None:
        kept = [change for change in self.changes if change.result is not None]
        if kept:
            change = random.choice(kept)
            self.changes.remove(change)
            self.tell(
                change.sender, change.command, random.choice([DatabaseUnavailable(), change.result, change.result])
            )

    # -- time, and the ends of lives ---------------------------------------------------------------------------------

    def time_passes(self, random: Random) -> None:
        self.now_us += int(random.choices([0.01, 1, 20, 61, 40_000, 86_400], [6, 6, 4, 6, 3, 3])[0] * 1_000_000)

    def passivated(self, _: Random | None = None) -> None:
        if self.actor.busy:
            return
        self.actor = self.activated()

    def actor_crashes(self, _: Random) -> None:
        if not self.changes and all(asked.given_up_us is None for asked in self.pipe):
            self.actor = self.activated()

    def partition_dies(self, random: Random) -> None:
        if self.changes:
            return
        while any(asked.result is None for asked in self.pipe):
            self.ledger_decides(random)
        self.pipe.clear()
        self.actor = self.activated()

    # -- what must hold ----------------------------------------------------------------------------------------------

    def what_is_stale_is_rebuilt_when_it_is_idle(self) -> None:
        if self.stale and not self.actor.busy:
            self.passivated()

    def at_rest_it_knows_what_the_books_say(self) -> None:
        if self.pipe or self.changes or self.stale or self.actor.busy:
            return
        allowance = self.actor._allowance
        assert self.known == {limit.asset: limit for limit in self.books.limits}
        for asset in self.known:
            assert allowance is not None
            assert allowance.spent(asset, self.today) == self.books.spent(asset, self.today)
            assert allowance.held(asset) == 0

    def it_is_busy_while_something_is_owed(self) -> None:
        asked = sum(each.sender is self.actor and each.given_up_us is None for each in self.pipe)
        changes = sum(change.sender is self.actor for change in self.changes)
        assert self.actor.in_flight == asked + changes


#: How often what happens, in a hundred and some.
WEIGHTS = {
    LimitedUser.one: 25,
    LimitedUser.several: 8,
    LimitedUser.ledger_decides: 25,
    LimitedUser.answer_comes: 30,
    LimitedUser.nobody_waits_any_longer: 3,
    LimitedUser.ledger_refuses_to_begin: 3,
    LimitedUser.ledger_dies_and_is_asked_again: 3,
    LimitedUser.set_limits: 4,
    LimitedUser.storage_keeps: 8,
    LimitedUser.storage_answers: 8,
    LimitedUser.time_passes: 5,
    LimitedUser.passivated: 2,
    LimitedUser.actor_crashes: 1,
    LimitedUser.partition_dies: 1,
}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_no_order_of_events_lets_anything_beyond_a_limit_or_counts_it_twice(seed: int) -> None:
    random, world = Random(seed), LimitedUser()
    for happens in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=150):
        happens(world, random)
        world.what_is_stale_is_rebuilt_when_it_is_idle()
        world.at_rest_it_knows_what_the_books_say()
        world.it_is_busy_while_something_is_owed()
