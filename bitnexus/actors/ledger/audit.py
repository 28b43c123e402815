"""Recomputes a ledger from its stored rows, event by event, and names the first place that is wrong. Pure.

Whoever feeds it (`verification` from the database, `export_audit` from a file) reads blocks in the order of their
heights, and with each its events in the order of `seq`; then the accounts' stored totals in the order in which they
were opened. Nothing stored is believed that can be recomputed: leaves, tree, chain, the balances told with each
transfer, every account's totals, limits and state, what is pending and what was resolved. It grows with the number of
accounts and of pending and reversed transfers, not with the length of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from struct import error as StructError  # noqa: N812 - it is a class

from bitnexus.actors.ledger.accounts import CLOSED, FROZEN, MAX_AMOUNT, OPEN, Account, Totals
from bitnexus.actors.ledger.checkpoint import Checkpoint
from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_annotation, leaf_of_change, leaf_of_transfer
from bitnexus.actors.ledger.log import NO_HASH, SALT_BYTES, Head, Node, block_hash, leaf_hash
from bitnexus.actors.ledger.rules import EXPIRE_PENDING, MOVED, PENDING
from bitnexus.actors.messages import AccountChanged, Transfer, TransferAnnotated

_STATES = {"freeze": FROZEN, "unfreeze": OPEN, "close": CLOSED}
#: Told how many events have been done, and of how many.
Progress = Callable[[int, int], None]
#: No block has more events: what says so is wrong, and is not gathered in memory first.
MAX_BLOCK_EVENTS = 10 * 65_536


class Wrong(Exception):
    """The stored ledger contradicts itself; says where and how. `seq`: at which event, if it is one."""

    def __init__(self, what: str, seq: int | None = None) -> None:
        super().__init__(what)
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in order; `signed` is the size of the largest signed tree in it, 0 if there was none."""

    blocks: int
    events: int
    accounts: int
    root: bytes
    signed: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """An account that was opened; its totals of now, if `account` has them, are no part of the event."""

    account: Account


@dataclass(frozen=True, slots=True)
class Change:
    """An account frozen, unfrozen or closed."""

    event: AccountChanged
    salt: bytes


@dataclass(frozen=True, slots=True)
class Posting:
    """A transfer, or a refused one."""

    transfer: Transfer
    refusal: str | None
    salt: bytes


@dataclass(frozen=True, slots=True)
class Annotation:
    """A transfer was given other words."""

    event: TransferAnnotated
    salt: bytes


Event = Opening | Change | Posting | Annotation


def events_of_next(height: int, tree_size: int, *, after_height: int, after_size: int) -> int:
    """How many events the next block has, by what is stored of it; asked before they are gathered.

    Raises:
        Wrong: it is not the next one, or cannot have so many.
    """
    if height != after_height + 1:
        raise Wrong(f"block {after_height + 1} is missing")
    if not 0 < tree_size - after_size <= MAX_BLOCK_EVENTS:
        raise Wrong(f"block {height} says that it ends at event {tree_size}")
    return tree_size - after_size


def check_place(event: Event, seq: int, height: int, time_us: int) -> None:
    """Check that the event says of itself that it stands where it was found.

    Raises:
        Wrong: it does not.
    """
    if isinstance(event, Opening):
        place = event.account.opened_seq, event.account.opened_block, event.account.opened_us
    else:
        told = event.transfer if isinstance(event, Posting) else event.event
        place = told.seq, told.block, told.time_us
    if place[0] != seq:
        raise Wrong(f"event {seq} is missing, or another one stands twice: the next is {place[0]}")
    if place[1:] != (height, time_us):
        raise Wrong(
            f"event {seq} is stored as of block {place[1]} at {place[2]}, but is in block {height} at {time_us}"
        )


@dataclass(slots=True)
class Audit:
    """The state of the ledger after the blocks fed so far.

    Args:
        signed: checkpoints that the tree must extend, verified.
        nodes: where the tree's kept nodes go as they come, if anybody wants to compare them.
    """

    signed: Sequence[Checkpoint] = ()
    nodes: list[Node] | None = None
    head: Head = field(default_factory=Head)
    events: int = 0
    replayed: dict[str, Account] = field(default_factory=dict)
    pending: dict[str, Transfer] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    _roots: dict[int, bytes] = field(default_factory=dict)
    _uncompared: Iterator[Account] | None = None

    def __post_init__(self) -> None:
        for each in self.signed:
            if self._roots.setdefault(each.size, each.root) != each.root:
                raise Wrong(f"two different trees of {each.size} events were signed")
        self._roots.pop(0, None)

    def block(
        self,
        height: int,
        prev_hash: bytes,
        hash_: bytes,
        root: bytes,
        *,
        time_us: int,
        peaks: bytes | None,
        events: Sequence[Event],
    ) -> None:
        """Take in the next block with all its events. `peaks`: those that are stored, None if they are not.

        Raises:
            Wrong: at the first event, else at the block.
        """
        head, where = self.head, f"block {height}"
        events_of_next(height, self.events + len(events), after_height=head.height, after_size=head.tree.size)
        if prev_hash != (head.hash if head.height else NO_HASH):
            raise Wrong(f"{where} does not name the hash of the block before it")
        if time_us <= head.time_us:
            raise Wrong(f"{where} is not later than the block before it")
        leaves = [self._checked(event, height, time_us) for event in events]
        self.head = head.extend(leaves, time_us, self.nodes)
        size = self.head.tree.size
        if self.head.root != root:
            raise Wrong(f"{where}, events {head.tree.size} to {size - 1}: their hashes do not make its root")
        if peaks is not None and b"".join(self.head.tree.peaks) != peaks:
            raise Wrong(f"{where}: its peaks are not those of the tree")
        if block_hash(height, prev_hash, size, root, time_us) != hash_:
            raise Wrong(f"{where}: its hash is not that of its fields")
        unmet = min(self._roots, default=size)
        if unmet < size:
            raise Wrong(f"{where}: no block ends at event {unmet}, where a tree was signed")
        if self._roots.pop(size, root) != root:
            raise Wrong(f"{where}: the tree of {size} events is not the one that was signed")

    def totals(self, account_id: str, stored: Totals) -> None:
        """After the last block: compare the stored totals of the next account, in the order of their openings.

        Raises:
            Wrong: it is not the next one, or its events make other totals.
        """
        if self._uncompared is None:
            self._check_signed()
            self._uncompared = iter(self.replayed.values())
        account = next(self._uncompared, None)
        if account is None:
            raise Wrong(f"account {account_id} was never opened, or its totals stand twice")
        if account.id != account_id:
            raise Wrong(f"account {account.id}: its totals are missing; the next are those of {account_id}")
        if account.totals != stored:
            raise Wrong(f"account {account_id}: {stored} is stored, its events make {account.totals}")

    def end(self) -> Verified:
        """After the totals of the last account: what was in order.

        Raises:
            Wrong: something is missing, or the balances do not add up.
        """
        self._check_signed()
        missing = next(iter(self.replayed.values()) if self._uncompared is None else self._uncompared, None)
        if missing is not None:
            raise Wrong(f"account {missing.id}: its totals are missing")
        sums: dict[str, list[int]] = {}
        for account in self.replayed.values():
            of_asset = sums.setdefault(account.asset, [0, 0])
            of_asset[0] += account.debits_posted - account.credits_posted
            of_asset[1] += account.debits_pending - account.credits_pending
        for asset, (posted, pending) in sums.items():
            if posted or pending:
                raise Wrong(f"{asset}: debits and credits differ by {posted}, pending ones by {pending}")
        signed = max((each.size for each in self.signed), default=0)
        return Verified(self.head.height, self.events, len(self.replayed), self.head.root, signed)

    def _check_signed(self) -> None:
        if self._roots:
            raise Wrong(f"event {self.events} is missing: a tree of {max(self._roots)} events was signed")

    def _checked(self, event: Event, height: int, time_us: int) -> bytes:
        seq = self.events
        try:
            return self._event(event, height, time_us)
        except Wrong as wrong:
            wrong.seq = seq
            raise
        except (KeyError, OverflowError, ValueError, StructError) as error:
            raise Wrong(f"event {seq}: its fields cannot be those of an event ({error!r})", seq) from error

    def _event(self, event: Event, height: int, time_us: int) -> bytes:
        where = f"event {self.events}"
        check_place(event, self.events, height, time_us)
        if len(event.account.salt if isinstance(event, Opening) else event.salt) != SALT_BYTES:
            raise Wrong(f"{where}: its salt does not have {SALT_BYTES} bytes")
        self.events += 1
        if isinstance(event, Opening):
            return self._opening(event.account, where)
        if isinstance(event, Annotation):
            return leaf_hash(leaf_of_annotation(event.event, event.salt))
        return self._change(event, where) if isinstance(event, Change) else self._posting(event, where)

    def _opening(self, account: Account, where: str) -> bytes:
        if account.id in self.replayed:
            raise Wrong(f"{where}: account {account.id} was opened before")
        self.replayed[account.id] = Account(
            account.id,
            owner_id=account.owner_id,
            asset=account.asset,
            flags=account.flags,
            credit_limit=account.credit_limit,
        )
        return leaf_hash(leaf_of_account(account))

    def _change(self, change: Change, where: str) -> bytes:
        account = self.replayed.get(change.event.account_id)
        state = _STATES.get(change.event.action)
        if account is None or state is None or account.state in {CLOSED, state}:
            raise Wrong(f"{where}: the account cannot be changed so")
        account.state = state
        return leaf_hash(leaf_of_change(change.event, change.salt))

    def _posting(self, posting: Posting, where: str) -> bytes:
        transfer = posting.transfer
        where = f"{where}, transfer {transfer.transfer_id}"
        if not 0 < transfer.amount <= MAX_AMOUNT:
            raise Wrong(f"{where}: its amount is {transfer.amount}")
        if transfer.pending_id and transfer.reverses_id:
            raise Wrong(f"{where}: it refers to two other transfers")
        if posting.refusal is None:
            self._replay(transfer, where)
        elif transfer.debit_balance or transfer.credit_balance:
            raise Wrong(f"{where}: it was refused, but tells balances")
        return leaf_hash(leaf_of_transfer(transfer, posting.refusal, posting.salt))

    def _replay(self, transfer: Transfer, where: str) -> None:
        debit, credit = self.replayed.get(transfer.debit_account_id), self.replayed.get(transfer.credit_account_id)
        if debit is None or credit is None:
            raise Wrong(f"{where}: one of its accounts was never opened")
        if {debit.asset, credit.asset} != {transfer.asset}:
            raise Wrong(f"{where}: its accounts are not of its asset")
        self._end(transfer, debit, credit, where)
        if transfer.kind in MOVED:
            debit.debits_posted += transfer.amount
            credit.credits_posted += transfer.amount
        elif transfer.kind == PENDING:
            self.pending[transfer.transfer_id] = transfer
            debit.debits_pending += transfer.amount
            credit.credits_pending += transfer.amount
        for account, told in ((debit, transfer.debit_balance), (credit, transfer.credit_balance)):
            if account.balance != told:
                raise Wrong(f"{where}: account {account.id} has {account.balance} after it, not {told}")
            if not account.is_within_limits:
                raise Wrong(f"{where}: account {account.id} is beyond its limits")

    def _end(self, transfer: Transfer, debit: Account, credit: Account, where: str) -> None:
        """Resolve what the transfer resolves."""
        if transfer.reverses_id:
            if transfer.reverses_id in self.reversed:
                raise Wrong(f"{where}: {transfer.reverses_id} was reversed before")
            self.reversed.add(transfer.reverses_id)
        if not transfer.pending_id:
            return
        first = self.pending.pop(transfer.pending_id, None)
        if first is None or transfer.amount > first.amount:
            raise Wrong(f"{where}: what it resolves was not pending")
        if (first.debit_account_id, first.credit_account_id) != (debit.id, credit.id):
            raise Wrong(f"{where}: what it resolves was pending between other accounts")
        is_over = 0 < first.expires_us <= transfer.time_us
        if is_over != (transfer.kind == EXPIRE_PENDING):
            raise Wrong(f"{where}: what it resolves was over before, or is not over yet")
        debit.debits_pending -= first.amount
        credit.credits_pending -= first.amount
