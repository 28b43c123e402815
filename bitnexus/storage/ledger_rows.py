"""The rows of the ledger's tables as the rest of the service sees them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bitnexus.actors.messages import AccountOpened, Transfer


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account with its totals, in minor units of its asset. `owner_id` is "" for a world account."""

    account_id: str
    owner_id: str
    asset: str
    code: int
    flags: int
    debits_posted: int
    credits_posted: int
    seq: int
    block: int
    time_us: int
    salt: bytes

    @property
    def balance(self) -> int:
        """Credits - debits: what its owner has."""
        return self.credits_posted - self.debits_posted


@dataclass(frozen=True, slots=True)
class TransferRow:
    """What stands under a transfer's id: posted (`refusal` None), or refused and its id burned."""

    transfer: Transfer
    refusal: str | None
    salt: bytes


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block. `peaks` are the tree's peaks after it, largest first, 32 bytes each, joined."""

    height: int
    prev_hash: bytes
    hash: bytes
    tree_size: int
    tree_root: bytes
    peaks: bytes
    time_us: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """Consecutive events of the log from `first_seq` on; a refusal is None. `owners`: account id → user id."""

    first_seq: int
    events: list[Transfer | AccountOpened | None]
    owners: dict[str, str]


class AccountToOpen(Protocol):
    """An account of a block that is new."""

    id: str
    owner_id: str
    asset: str
    code: int
    flags: int
    debits_posted: int
    credits_posted: int
    opened_seq: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class BlockToWrite:
    """A block with everything that is written with it, in one transaction.

    `transfers`, `refusals` and `salts` run in parallel. `totals` are (account id, debits, credits) after the block, of
    accounts that were there before it.
    """

    row: BlockRow
    transfers: Sequence[Transfer]
    refusals: Sequence[str | None]
    salts: Sequence[bytes]
    opened: Sequence[AccountToOpen]
    totals: Sequence[tuple[str, int, int]]
