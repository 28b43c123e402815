"""The transaction actor: one per active user, a synchronous state machine. Messages in, messages out, no I/O.

    in                                out
    PostTransfer, debit account own   ToLedger, or ToCaller TooManyInFlight
    PostTransfer, any other           ToCaller NotFound: the same answer whether the account exists or not
    PostTransfers, all accounts own   ToLedger, or ToCaller TooManyInFlight
    PostTransfers, any other          ToCaller NotFound
    PostTransfers, with a reversal    ToCaller Forbidden, unless an admin asks; then of any account
    AnnotateTransfer                  ToLedger, if own, or an admin or a service asks; else ToCaller NotFound
    Purchase                          as PostTransfer (see purchase.py), or TooManyAccounts
    OpenAccount, CreateAccount        ToLedger, or ToCaller TooManyInFlight, or TooManyAccounts
    ChangeAccount                     ToLedger, or ToCaller Forbidden unless an admin asks
    SetLimits                         ToStorage, or ToCaller Forbidden unless an admin asks
    Answered (by the ledger)          ToCaller, with what the ledger answered
    Answered (by storage)             ToCaller; the limits hold from now on

It knows the ids of the user's accounts, what the user's limits allow if there are any (see allowance.py), and how many
commands of this life of it have not been answered yet. All is rebuilt on activation, from storage by one query; there
is nothing in flight then. Commands go to the ledger in the order in which they came, a batch as one: whoever's accounts
it is about, it is decided in one place and by one order, and an atomic one could not be decided in two.

A refusal here is made before the ledger looks at an id, and burns nothing. So whether an account is frozen is the
ledger's to say: a transfer that was posted before the freeze must get its result again when it is repeated, and one
that was refused for it must be refused for ever. The same is true of limits. What is beyond one is not answered here:
it goes to the ledger in its turn, with the refusal that is to be recorded for it if its id is new.

The time of a pending transfer runs out in the ledger, in the order of the log, whether this actor is active or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import structs

from bitnexus.actors.ledger.accounts import house_account
from bitnexus.actors.ledger.commands import transfers_of
from bitnexus.actors.ledger.rules import POST_PENDING, REVERSAL, VOID_PENDING
from bitnexus.actors.messages import (
    AccountOpened,
    AnnotateTransfer,
    ChangeAccount,
    CreateAccount,
    LimitsSet,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    Purchase,
    SetLimits,
    TransferRequest,
    TransferResults,
)
from bitnexus.actors.runtime.light import C, LightActor
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.transactions.allowance import Allowance, Clock
from bitnexus.actors.transactions.purchase import is_carried_out
from bitnexus.actors.transactions.settlement import settle
from bitnexus.errors import BitNexusError, Forbidden, NotFound, TooManyAccounts, TooManyInFlight

#: What moves the user's money, so that limits are about it.
Spending: TypeAlias = PostTransfer | PostTransfers | Purchase
Seldom: TypeAlias = (
    PostTransfers | Purchase | AnnotateTransfer | OpenAccount | CreateAccount | ChangeAccount | SetLimits
)
Command: TypeAlias = PostTransfer | Seldom

#: Roles that may debit the house's accounts of an asset, by which money enters and leaves the shop; and resolve what a
#: user has reserved. No role begins a transfer from a user's account but the user.
_MAY_ISSUE: Final = frozenset({"admin", "service"})
_ADMIN: Final = "admin"
#: Kinds whose accounts are those of an earlier transfer.
_FOLLOWS: Final = frozenset({POST_PENDING, VOID_PENDING, REVERSAL})
#: Accounts of one user: all of them are read when the user's actor is activated.
MAX_ACCOUNTS: Final = 1_000
#: Above this many accounts a set is worth its memory.
_FEW: Final = 16


# As msgspec's structs these are made in a fifth of the time of a frozen dataclass: three of them for each transfer.


class Answered(msgspec.Struct, frozen=True):
    """What the ledger (or storage) answered to `command`; `sender` is this user's actor in this or an earlier life."""

    sender: object
    command: Command
    result: Message | BitNexusError


class ToLedger(msgspec.Struct, frozen=True):
    """Pass this to the ledger; its answer comes back as :class:`Answered`."""

    command: Command


class ToStorage(msgspec.Struct, frozen=True):
    """Have storage keep this; its answer comes back as :class:`Answered`."""

    command: SetLimits


class ToCaller(msgspec.Struct, frozen=True):
    """Answer the caller. With `stale`, what the actor knows may be out of date: rebuild it when it is idle."""

    result: Message | BitNexusError
    stale: bool = False


Incoming: TypeAlias = Command | Answered
Outgoing: TypeAlias = ToLedger | ToStorage | ToCaller


class TransactionActor(LightActor[Incoming, C, Outgoing]):
    """The commands of one user. `max_in_flight` bounds those that the ledger has not answered.

    `limits` are the user's, if there are any; `clock` says what time it is.
    """

    __slots__ = ("_accounts", "_allowance", "_clock", "_in_flight", "_max_in_flight")

    def __init__(
        self,
        user_id: str,
        accounts: Iterable[str],
        *,
        max_in_flight: int,
        clock: Clock,
        limits: LimitsSet | None = None,
    ) -> None:
        super().__init__(user_id)
        self._accounts = _compact(accounts)
        self._in_flight = 0
        self._max_in_flight = max_in_flight
        self._clock = clock
        # Nearly nobody has limits; who has none pays for nothing but the question.
        self._allowance = None if limits is None else Allowance(limits)

    @property
    def busy(self) -> bool:
        """True while an answer is owed, or something given up may still be committed and is counted here alone."""
        if self._in_flight > 0:
            return True
        return self._allowance is not None and self._allowance.in_doubt(self._clock())

    def summary(self) -> Mapping[str, object]:
        """How many accounts and commands in flight, and of how many assets there are limits; not which."""
        found = {"accounts": len(self._accounts), "in_flight": self._in_flight}
        return found if self._allowance is None else {**found, "limits": len(self._allowance.limits)}

    @property
    def in_flight(self) -> int:
        """How many commands the ledger has not answered."""
        return self._in_flight

    def receive(self, message: Incoming, context: C) -> Outgoing:  # noqa: ARG002 - decisions need none
        """Decide about one message; see the table at the top."""
        if isinstance(message, PostTransfer):
            return self._post(message)
        if isinstance(message, Answered):
            return self._answered(message)
        return self._seldom(message)

    def _seldom(self, message: Seldom) -> Outgoing:
        if isinstance(message, PostTransfers):
            return self._post_all(message)
        if isinstance(message, AnnotateTransfer):
            return self._annotate(message)
        if isinstance(message, Purchase):
            return self._buy(message)
        if isinstance(message, ChangeAccount):
            return self._change(message)
        if isinstance(message, SetLimits):
            return self._set_limits(message)
        return self._open(message)

    def _post(self, command: PostTransfer) -> Outgoing:
        account_id = command.debit_account_id
        if account_id not in self._accounts and not (
            command.role in _MAY_ISSUE and house_account(account_id, command.asset)
        ):
            return ToCaller(NotFound("You have no such account to debit"))
        return self._pass_on(command) if self._allowance is None else self._spend(self._allowance, command)

    def _buy(self, command: Purchase) -> Outgoing:
        if command.payer_account_id not in self._accounts:
            return ToCaller(NotFound("You have no such account to debit"))
        return self._unless_too_many(command, command.units_account_id)

    def _post_all(self, batch: PostTransfers) -> Outgoing:
        transfers = batch.transfers
        if batch.role != _ADMIN and any(transfer.kind == REVERSAL for transfer in transfers):
            return ToCaller(Forbidden("Only an admin may reverse a transfer"))
        foreign = {transfer.debit_account_id for transfer in transfers}.difference(self._accounts)
        if foreign:
            issues = batch.role in _MAY_ISSUE
            for at, transfer in enumerate(transfers):
                if transfer.debit_account_id in foreign and not (issues and _is_issue(transfer)):
                    which = f"Transfer {at}: " if len(transfers) > 1 else ""
                    return ToCaller(NotFound(f"{which}You have no such account to debit"))
        return self._pass_on(batch) if self._allowance is None else self._spend(self._allowance, batch)

    def _annotate(self, command: AnnotateTransfer) -> Outgoing:
        if command.role not in _MAY_ISSUE and command.debit_account_id not in self._accounts:
            return ToCaller(NotFound("You have no such transfer"))
        return self._pass_on(command)

    def _open(self, command: OpenAccount | CreateAccount) -> Outgoing:
        return self._unless_too_many(command, command.account_id)

    def _unless_too_many(self, command: Purchase | OpenAccount | CreateAccount, account_id: str) -> Outgoing:
        """Pass on a command that may open this account."""
        if len(self._accounts) >= MAX_ACCOUNTS and account_id not in self._accounts:
            return ToCaller(TooManyAccounts())
        if self._allowance is not None and isinstance(command, Purchase):
            return self._spend(self._allowance, command)
        return self._pass_on(command)

    def _change(self, command: ChangeAccount) -> Outgoing:
        if command.role != _ADMIN:
            return ToCaller(Forbidden("Only an admin may freeze, unfreeze or close an account"))
        return self._pass_on(command)

    def _set_limits(self, command: SetLimits) -> Outgoing:
        if command.role != _ADMIN:
            return ToCaller(Forbidden("Only an admin may set limits"))
        if self._allowance is None:
            self._allowance = Allowance()
        self._allowance.begin_change()
        # However many commands of the user's are in flight: it is not one of them.
        self._in_flight += 1
        return ToStorage(command)

    def _spend(self, allowance: Allowance, command: Spending) -> Outgoing:
        """Pass on what the limits allow, and the rest to be refused."""
        transfers = transfers_of(command)
        if self._in_flight >= self._max_in_flight or not allowance.has_room(transfers, self._max_in_flight):
            return ToCaller(TooManyInFlight())
        refusals = allowance.take(transfers, self._accounts, self._clock())
        return self._pass_on(_refusing(command, refusals) if refusals else command)

    def _pass_on(self, command: Command) -> Outgoing:
        if self._in_flight >= self._max_in_flight:
            return ToCaller(TooManyInFlight())
        self._in_flight += 1
        return ToLedger(command)

    def _answered(self, answered: Answered) -> ToCaller:
        # The answer to a command of an earlier life is relayed, but was never counted in this one.
        if answered.sender is self:
            self._in_flight -= 1
            assert self._in_flight >= 0
        if self._allowance is not None:
            return self._settled(self._allowance, answered)
        if type(answered.command) is PostTransfer:
            return ToCaller(answered.result)  # nearly always, and there is nothing to learn from it
        return self._learned(answered)

    def _settled(self, allowance: Allowance, answered: Answered) -> ToCaller:
        """Count what the answer says, for the limits."""
        command, result, mine = answered.command, answered.result, answered.sender is self
        stale = False
        if isinstance(command, SetLimits):
            known = result if isinstance(result, LimitsSet) else None
            stale = known is None
            if mine:
                allowance.end_change(known)
        elif isinstance(command, PostTransfer | PostTransfers | Purchase):
            stale = settle(allowance, command, result, own=self._accounts, now_us=self._clock(), mine=mine)
        if not allowance.is_needed:
            self._allowance = None
        answer = self._learned(answered)
        return ToCaller(answer.result, stale=True) if stale else answer

    def _learned(self, answered: Answered) -> ToCaller:
        """Learn of a new account."""
        result = answered.result
        if isinstance(result, AccountOpened):
            if result.owner_id == self.key:
                self._learn(result.account_id)
        elif isinstance(answered.command, OpenAccount | CreateAccount):
            # Timed out, say: it may have been opened all the same.
            return ToCaller(result, stale=True)
        elif isinstance(answered.command, Purchase):
            return self._bought(answered.command, result)
        return ToCaller(result)

    def _bought(self, command: Purchase, result: Message | BitNexusError) -> ToCaller:
        if not isinstance(result, TransferResults):
            # As with an account that was to be opened; unless it was there before.
            return ToCaller(result, stale=command.units_account_id not in self._accounts)
        if is_carried_out(result):
            self._learn(command.units_account_id)
        return ToCaller(result)

    def _learn(self, account_id: str) -> None:
        if account_id not in self._accounts:
            self._accounts = _compact([*self._accounts, account_id])


def _refusing(command: Spending, refusals: Mapping[int, str]) -> Spending:
    """The command, with the refusals of its transfers by their places."""
    if isinstance(command, PostTransfers):
        transfers: Sequence[TransferRequest] = [
            structs.replace(transfer, refuse=refusals[at]) if at in refusals else transfer
            for at, transfer in enumerate(command.transfers)
        ]
        return structs.replace(command, transfers=transfers)
    (refusal,) = refusals.values()
    return structs.replace(command, refuse=refusal)


def _is_issue(transfer: TransferRequest) -> bool:
    """Whether an admin or a service may ask for it: it is from the house, or follows from what its payer has asked for.

    That it follows is checked by the ledger, and whether it is a reversal, which is for admins, before.
    """
    if transfer.kind in _FOLLOWS:
        return True
    return bool(house_account(transfer.debit_account_id, transfer.asset))


def _compact(accounts: Iterable[str]) -> Collection[str]:
    """A tuple is a fifth of a set's size, and nearly everybody has one account."""
    known = tuple(accounts)
    return known if len(known) <= _FEW else frozenset(known)
