"""What a user's limits still allow: decided before the ledger is asked, counted when it has answered. Pure.

**What counts** against the limits of an asset are the amounts that the user's own commands take from the user's own
accounts: transfers of the kinds ``post`` and ``pending``, and the payments of purchases. They count on the day, UTC, of
the ledger's time. What was reserved counts when it is reserved, on no day when it is posted, and is not given back when
it is released, by whatever: a limit bounds what somebody can commit to. Reversals do not count; an admin makes them.

**Held** is what the ledger has not answered yet. It counts as if it were spent, once per transfer id. When no answer
comes, the outcome is in doubt, and the amount stays held: until the id is repeated and its result tells, or until the
actor is rebuilt. That it is not before `DOUBT_US` are over: what was given up could else be committed after storage was
asked for it.

**Counted once.** Results say which event of the log they are, and the log grows. A result counts if it is later than
everything that was counted when its command came; whether it is the answer to a first or to a repeated question does
not matter, for a first one may be repeated between here and the ledger.

**Refused** is what is beyond a limit, unless its id is known: that the ledger alone can say. So the command goes there
with the refusal, and what is new is refused for good, like a transfer that a balance does not allow.

While limits are being set, all is counted that happens, for what storage says about the day is of a moment before. A
user's first limit does not hold back what is in flight already: that is counted when it is answered. If it never is, it
counts from the next activation on, as does what an earlier life of the actor had in flight when its process died.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from bitnexus.actors.ledger.rules import PENDING, POST, Request
from bitnexus.actors.messages import Limit, LimitsSet

DAY_US: Final = 86_400_000_000
#: After a deadline nobody waits; the ledger's own statements end within 10 s.
DOUBT_US: Final = 60_000_000
COUNTED: Final = frozenset({POST, PENDING})

#: The time in microseconds since 1970.
Clock = Callable[[], int]


class _Hold:
    """An amount that may be taken under one transfer id; a result after the event `floor` counts."""

    __slots__ = ("amount", "asset", "floor", "in_flight")

    def __init__(self, asset: str, amount: int, floor: int) -> None:
        self.asset = asset
        self.amount = amount
        self.floor = floor
        self.in_flight = 0


class Allowance:
    """Of one user: from what storage knows, or without limits, while the first ones are being set."""

    __slots__ = (
        "_changes",
        "_day",
        "_doubts",
        "_held",
        "_holds",
        "_limits",
        "_since",
        "_spent",
        "_through",
        "_version",
    )

    def __init__(self, known: LimitsSet | None = None) -> None:
        self._limits: dict[str, Limit] = {}
        self._version = 0
        self._day = 0
        self._spent: dict[str, int] = {}
        self._through = -1  # the last event that is counted
        self._holds: dict[str, _Hold] = {}
        self._held: dict[str, int] = {}  # by asset: the sum of the holds
        self._doubts: dict[str, int] = {}  # transfer id → until when it may be committed
        self._changes = 0
        # What was counted while limits were being set: event, day, asset, amount.
        self._since: list[tuple[int, int, str, int]] = []
        if known is not None:
            self._take_over(known)

    # -- what others ask -------------------------------------------------------------------------------------------

    @property
    def is_needed(self) -> bool:
        """Whether there are limits, some are being set, or there were some and what was held then is not settled."""
        return bool(self._limits or self._holds) or self._changes > 0

    @property
    def limits(self) -> Mapping[str, Limit]:
        """By asset."""
        return self._limits

    def spent(self, asset: str, day: int) -> int:
        """What is known to have been spent on this day; of a limited asset."""
        return self._spent.get(asset, 0) if day == self._day else 0

    def held(self, asset: str) -> int:
        """What the ledger has not answered for, or will not."""
        return self._held.get(asset, 0)

    def in_doubt(self, now_us: int) -> bool:
        """Whether it must not be rebuilt yet: something that was given up may be committed after all."""
        return any(until_us > now_us for until_us in self._doubts.values())

    def has_room(self, transfers: Sequence[Request], most: int) -> bool:
        """Whether fewer than `most` ids are in doubt, or these transfers are among them."""
        doubts = self._doubts
        return len(doubts) < most or all(request.transfer_id in doubts for request in transfers)

    # -- a command comes -------------------------------------------------------------------------------------------

    def take(self, transfers: Sequence[Request], own: Collection[str], now_us: int) -> dict[int, str]:
        """Hold what the command may take from `own` accounts; the refusals of the others, by their place in it.

        Of a chain that will be refused nothing is held.
        """
        self._turn_to(now_us // DAY_US)
        refusals: dict[int, str] = {}
        chain: list[Request] = []
        spoilt = False
        for at, request in enumerate(transfers):
            if not spoilt and self.counts(request, own):
                refusal = self._refusal(request)
                if refusal is None:
                    self._hold(request).in_flight += 1
                    chain.append(request)
                else:
                    refusals[at] = refusal
                    spoilt = True
            if not request.linked:
                if spoilt:
                    for held in chain:
                        self._let_go(held.transfer_id)
                chain.clear()
                spoilt = False
        return refusals

    @staticmethod
    def counts(request: Request, own: Collection[str]) -> bool:
        """Whether a limit is about it."""
        return request.kind in COUNTED and request.debit_account_id in own

    def _refusal(self, request: Request) -> str | None:
        limit = self._limits.get(request.asset)
        if limit is None:
            return None
        amount = request.amount
        if limit.per_transfer is not None and amount > limit.per_transfer:
            return "transfer_limit_exceeded"
        if limit.per_day is None:
            return None
        hold = self._holds.get(request.transfer_id)
        known = hold.amount if hold is not None and hold.asset == request.asset else 0
        taken = self._spent.get(request.asset, 0) + self._held.get(request.asset, 0) - known
        return "daily_limit_exceeded" if taken + max(amount, known) > limit.per_day else None

    # -- the ledger answers ----------------------------------------------------------------------------------------

    def settle(self, request: Request, seq: int | None, day: int, *, mine: bool) -> None:
        """The transfer is event `seq`, of that day; or (None) it was refused. `mine`: it was held in this life."""
        hold = self._holds.get(request.transfer_id)
        if seq is not None:
            if seq > (self._through if hold is None else hold.floor):
                self._count(request, seq, day)
                if hold is not None:
                    hold.floor = seq
            self._through = max(self._through, seq)
        if hold is not None:
            self._doubts.pop(request.transfer_id, None)
            if mine and hold.in_flight:
                hold.in_flight -= 1
            self._drop_if_over(request.transfer_id, hold)

    def release(self, request: Request) -> None:
        """Nothing has come of it, and nothing will."""
        if request.transfer_id in self._holds:
            self._let_go(request.transfer_id)

    def doubt(self, request: Request, until_us: int, *, mine: bool) -> None:
        """Nobody knows what has come of it, or may until then."""
        hold = self._hold(request)
        self._doubts[request.transfer_id] = until_us
        if mine and hold.in_flight:
            hold.in_flight -= 1

    def _count(self, request: Request, seq: int, day: int) -> None:
        self._turn_to(day)
        if self._changes:
            self._since.append((seq, day, request.asset, request.amount))
        if day == self._day:
            self._spent[request.asset] = self._spent.get(request.asset, 0) + request.amount

    def _turn_to(self, day: int) -> None:
        if day > self._day:
            self._day = day
            self._spent.clear()

    def _hold(self, request: Request) -> _Hold:
        id_, asset, amount = request.transfer_id, request.asset, request.amount
        hold = self._holds.get(id_)
        if hold is None:
            hold = self._holds[id_] = _Hold(asset, amount, self._through)
            self._held[asset] = self._held.get(asset, 0) + amount
        elif hold.asset == asset and amount > hold.amount:  # one of them at most will be carried out
            self._held[asset] += amount - hold.amount
            hold.amount = amount
        return hold

    def _let_go(self, transfer_id: str) -> None:
        hold = self._holds[transfer_id]
        if hold.in_flight:
            hold.in_flight -= 1
        self._drop_if_over(transfer_id, hold)

    def _drop_if_over(self, transfer_id: str, hold: _Hold) -> None:
        if hold.in_flight or transfer_id in self._doubts:
            return
        del self._holds[transfer_id]
        left = self._held[hold.asset] - hold.amount
        assert left >= 0
        if left:
            self._held[hold.asset] = left
        else:
            del self._held[hold.asset]

    # -- limits change ---------------------------------------------------------------------------------------------

    def begin_change(self) -> None:
        """Limits are being set: from here on everything is counted."""
        self._changes += 1

    def end_change(self, known: LimitsSet | None) -> None:
        """These limits are set; None: they are not, or nobody knows."""
        if known is not None and known.version > self._version:
            self._take_over(known)
        self._changes -= 1
        assert self._changes >= 0
        if not self._changes:
            self._since.clear()

    def _take_over(self, known: LimitsSet) -> None:
        """Let storage say what was spent up to its moment; what was counted since is added."""
        self._limits = {limit.asset: limit for limit in known.limits}
        self._version = known.version
        day = max(known.day, self._day)
        self._spent = dict(known.spent) if known.day == day else {}
        self._day = day
        for seq, counted_on, asset, amount in self._since:
            if counted_on == day and (seq > known.as_of_seq or known.day < day):
                self._spent[asset] = self._spent.get(asset, 0) + amount
        self._through = max(self._through, known.as_of_seq)
        for hold in self._holds.values():
            hold.floor = max(hold.floor, known.as_of_seq)
