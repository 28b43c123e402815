"""A block in the making, and decided: what is to be written, and the answers that are true once it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bitnexus import errors
from bitnexus.actors.ledger.accounts import Account
from bitnexus.actors.ledger.commands import Item, Recorded
from bitnexus.actors.ledger.log import Head, Node
from bitnexus.actors.messages import AccountChanged, AccountOpened, BlockCommitted, Transfer, TransferAnnotated
from bitnexus.actors.runtime.message import Message

#: Where a block stood: how many events, how many of them transfers, how many accounts opened.
Mark: TypeAlias = tuple[int, int, int]


@dataclass(slots=True)
class Block:
    """Transfers, refusals and salts run in parallel, and so do changes, and annotations, and their salts.

    `leaves` are leaf hashes.

    `totals` are (account id, totals and state as `Account.totals`) after the block, of accounts that were there before.
    """

    before: Head
    items: Sequence[Item]
    head: Head
    time_us: int
    answers: list[Message | errors.BitNexusError] = field(default_factory=list)
    events: list[Transfer | AccountOpened | AccountChanged | TransferAnnotated | None] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    refusals: list[str | None] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    opened: list[Account] = field(default_factory=list)
    changes: list[AccountChanged] = field(default_factory=list)
    change_salts: list[bytes] = field(default_factory=list)
    annotations: dict[str, TransferAnnotated] = field(default_factory=dict)
    annotation_salts: list[bytes] = field(default_factory=list)
    totals: list[tuple[str, int, int, int, int, int]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    recorded: dict[str, Recorded] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    guessed: set[str] = field(default_factory=set)
    #: Nothing in it but transfers of kind "post" and accounts without a credit limit.
    plain: bool = True

    def place(self) -> tuple[int, int, int]:
        """The next event's seq, height and time."""
        return self.before.tree.size + len(self.leaves), self.before.height + 1, self.time_us

    def append(self, transfer: Transfer, refusal: str | None, salt: bytes, leaf_hash: bytes) -> None:
        """Take in a transfer, or a refused one."""
        self.leaves.append(leaf_hash)
        self.transfers.append(transfer)
        self.refusals.append(refusal)
        self.salts.append(salt)
        self.recorded[transfer.transfer_id] = Recorded(transfer, refusal)
        self.events.append(transfer if refusal is None else None)

    def extend(self, transfers: Sequence[Transfer], salts: Sequence[bytes], leaf_hashes: Sequence[bytes]) -> None:
        """Take in transfers that were carried out, and which stand in `recorded` already."""
        self.leaves += leaf_hashes
        self.transfers += transfers
        self.refusals += [None] * len(transfers)
        self.salts += salts
        self.events += transfers

    def words_of(self, transfer_id: str) -> TransferAnnotated | None:
        """The latest annotation of the transfer in this block."""
        return next((each for each in reversed(self.annotations.values()) if each.transfer_id == transfer_id), None)

    def tell_owners(self, account: Account, other: Account | None = None) -> None:
        """Note whose accounts an event concerns."""
        if account.owner_id:
            self.owners[account.id] = account.owner_id
        if other is not None and other.owner_id:
            self.owners[other.id] = other.owner_id

    def mark(self) -> Mark:
        """Where the block stands."""
        return len(self.leaves), len(self.transfers), len(self.opened)

    def cut(self, mark: Mark) -> None:
        """Take back the events since `mark`, which must all be transfers or openings of accounts."""
        events, transfers, opened = mark
        for transfer in self.transfers[transfers:]:
            del self.recorded[transfer.transfer_id]
        for account in self.opened[opened:]:
            self.owners.pop(account.id, None)
        del self.leaves[events:], self.events[events:], self.opened[opened:]
        del self.transfers[transfers:], self.refusals[transfers:], self.salts[transfers:]

    def committed(self) -> BlockCommitted:
        """The event that tells of this block."""
        sizes = (self.before.tree.size, self.head.tree.size)
        return BlockCommitted(self.head.height, *sizes, self.events, self.owners)
