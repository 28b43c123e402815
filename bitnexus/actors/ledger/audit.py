"""Recomputes a ledger from its stored rows, event by event, and names the first place that is wrong. Pure.

Whoever feeds it reads blocks in the order of their heights, and with each its events in the order of `seq`. Nothing
stored is believed that can be recomputed: leaves, tree, chain, the balances told with each transfer, every account's
totals, limits and state, what is pending and what was resolved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import error as StructError  # noqa: N812 - it is a class

from bitnexus.actors.ledger.accounts import CLOSED, FROZEN, MAX_AMOUNT, OPEN, Account
from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_change, leaf_of_transfer
from bitnexus.actors.ledger.log import NO_HASH, Head, Node, block_hash, leaf_hash
from bitnexus.actors.ledger.rules import EXPIRE_PENDING, MOVED, PENDING
from bitnexus.actors.messages import AccountChanged, Transfer

_STATES = {"freeze": FROZEN, "unfreeze": OPEN, "close": CLOSED}


class Wrong(Exception):
    """The stored ledger contradicts itself; says where and how."""


@dataclass(frozen=True, slots=True)
class Opening:
    """An account as it is stored: `account` has its totals of now."""

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


Event = Opening | Change | Posting


@dataclass(slots=True)
class Audit:
    """The state of the ledger after the blocks fed so far."""

    head: Head = field(default_factory=Head)
    events: int = 0
    stored: dict[str, Account] = field(default_factory=dict)
    replayed: dict[str, Account] = field(default_factory=dict)
    pending: dict[str, Transfer] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    nodes: list[Node] = field(default_factory=list)

    def block(
        self,
        height: int,
        prev_hash: bytes,
        hash_: bytes,
        root: bytes,
        *,
        time_us: int,
        peaks: bytes,
        events: Sequence[Event],
    ) -> None:
        """Take in the next block with all its events.

        Raises:
            Wrong: at the first event, else at the block.
        """
        head, where = self.head, f"block {height}"
        if height != head.height + 1:
            raise Wrong(f"block {head.height + 1} is missing")
        if prev_hash != (head.hash if head.height else NO_HASH):
            raise Wrong(f"{where} does not name the hash of the block before it")
        if time_us <= head.time_us:
            raise Wrong(f"{where} is not later than the block before it")
        leaves = [self._checked(event, height, time_us) for event in events]
        self.head = head.extend(leaves, time_us, self.nodes)
        if self.head.root != root:
            raise Wrong(f"{where}, events {head.tree.size} to {self.events - 1}: their hashes do not make its root")
        if b"".join(self.head.tree.peaks) != peaks:
            raise Wrong(f"{where}: its peaks are not those of the tree")
        if block_hash(height, prev_hash, self.head.tree.size, root, time_us) != hash_:
            raise Wrong(f"{where}: its hash is not that of its fields")

    def end(self) -> None:
        """After the last block: compare every account's totals with its events.

        Raises:
            Wrong: at the first account.
        """
        sums: dict[str, list[int]] = {}
        for id_, account in self.stored.items():
            found = self.replayed[id_].totals
            if account.totals != found:
                raise Wrong(f"account {id_}: {account.totals} is stored, its events make {found}")
            of_asset = sums.setdefault(account.asset, [0, 0])
            of_asset[0] += found[0] - found[1]
            of_asset[1] += found[2] - found[3]
        for asset, (posted, pending) in sums.items():
            if posted or pending:
                raise Wrong(f"{asset}: debits and credits differ by {posted}, pending ones by {pending}")

    def _checked(self, event: Event, height: int, time_us: int) -> bytes:
        seq = self.events
        try:
            return self._event(event, height, time_us)
        except (KeyError, OverflowError, ValueError, StructError) as error:
            raise Wrong(f"event {seq}: its fields cannot be those of an event ({error!r})") from error

    def _event(self, event: Event, height: int, time_us: int) -> bytes:
        where = f"event {self.events}"
        if isinstance(event, Opening):
            place = event.account.opened_seq, event.account.opened_block, event.account.opened_us
        else:
            told = event.event if isinstance(event, Change) else event.transfer
            place = told.seq, told.block, told.time_us
        if place[0] != self.events:
            raise Wrong(f"{where} is missing, or another one stands twice: the next is {place[0]}")
        if place[1:] != (height, time_us):
            raise Wrong(
                f"{where} is stored as of block {place[1]} at {place[2]}, but is in block {height} at {time_us}"
            )
        self.events += 1
        if isinstance(event, Opening):
            return self._opening(event.account, where)
        return self._change(event, where) if isinstance(event, Change) else self._posting(event, where)

    def _opening(self, account: Account, where: str) -> bytes:
        if account.id in self.stored:
            raise Wrong(f"{where}: account {account.id} was opened before")
        self.stored[account.id] = account
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
        ended = transfer.pending_id or transfer.reverses_id
        if not ended:
            return
        if ended in self.ended:
            raise Wrong(f"{where}: {ended} was resolved or reversed before")
        self.ended.add(ended)
        if not transfer.pending_id:
            return
        first = self.pending.pop(transfer.pending_id, None)
        if first is None or transfer.amount > first.amount:
            raise Wrong(f"{where}: what it resolves was not pending")
        is_over = 0 < first.expires_us <= transfer.time_us
        if is_over != (transfer.kind == EXPIRE_PENDING):
            raise Wrong(f"{where}: what it resolves was over before, or is not over yet")
        debit.debits_pending -= first.amount
        credit.credits_pending -= first.amount
