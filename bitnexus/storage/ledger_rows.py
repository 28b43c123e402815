"""The rows of the ledger's tables as the rest of the service sees them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bitnexus.actors.messages import AccountChanged, AccountOpened, Transfer, TransferAnnotated


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account with its totals, in minor units of its asset. `owner_id` is "" for an account of nobody.

    `state`: 0 open, 1 frozen, 2 closed.
    """

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
    debits_pending: int = 0
    credits_pending: int = 0
    credit_limit: int = 0
    state: int = 0

    @property
    def balance(self) -> int:
        """Credits - debits: what its owner has."""
        return self.credits_posted - self.debits_posted


@dataclass(frozen=True, slots=True)
class TransferRow:
    """What stands under a transfer's id: carried out (`refusal` None), or refused and its id burned.

    `resolution` is the kind of the transfer that has resolved or reversed it; "" if none has, or it was not asked for.
    """

    transfer: Transfer
    refusal: str | None
    salt: bytes
    resolution: str = ""


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
class Annotated:
    """An annotation, and the accounts of its transfer."""

    words: TransferAnnotated
    debit_account_id: str
    credit_account_id: str


@dataclass(frozen=True, slots=True)
class EventPage:
    """Consecutive events of the log from `first_seq` on; a refusal is None. `owners`: account id → user id.

    `parties` are the accounts of the transfers that annotations in it are about, by the annotations' ids.
    """

    first_seq: int
    events: list[Transfer | AccountOpened | AccountChanged | TransferAnnotated | None]
    owners: dict[str, str]
    parties: dict[str, tuple[str, str]]

    @property
    def told(self) -> list[Transfer | AccountOpened | AccountChanged | Annotated | None]:
        """The events, annotations with the accounts that they concern."""
        return [
            Annotated(event, *self.parties[event.annotation_id]) if isinstance(event, TransferAnnotated) else event
            for event in self.events
        ]


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
    credit_limit: int


@dataclass(frozen=True, slots=True)
class BlockToWrite:
    """A block with everything that is written with it, in one transaction.

    `transfers`, `refusals` and `salts` run in parallel, as do `changes` and `change_salts`, `annotations` and theirs.
    `totals` are (account id, posted debits and credits, pending debits and credits, state) after the block, of accounts
    that were there before it. `nodes` are (level, number, hash); `timers` (transfer id, µs when its time is over). A
    `plain` block has nothing but accounts without credit limit and transfers of kind "post".
    """

    plain: bool

    row: BlockRow
    transfers: Sequence[Transfer]
    refusals: Sequence[str | None]
    salts: Sequence[bytes]
    opened: Sequence[AccountToOpen]
    totals: Sequence[tuple[str, int, int, int, int, int]]
    changes: Sequence[AccountChanged]
    change_salts: Sequence[bytes]
    nodes: Sequence[tuple[int, int, bytes]]
    timers: Sequence[tuple[str, int]]
    stopped_timers: Sequence[str]
    annotations: Sequence[TransferAnnotated] = ()
    annotation_salts: Sequence[bytes] = ()
