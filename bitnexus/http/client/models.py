"""What the service answers, as types. Amounts are integers of the asset's minor unit, times RFC 3339 texts in UTC.

Fields that a newer service adds are passed over. `etag` names the version that was read, for changes of just that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user; `account_id` (of a new one): the first account, None if it could not be opened yet."""

    id: str
    email: str
    name: str
    role: Literal["user", "service", "admin"]
    inserted_at: str
    updated_at: str
    account_id: str | None = None
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a login or a refresh gives; the lives are in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: str
    expires_in: int
    refresh_expires_in: int
    user: User


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account. Of a moment of the past (`as_of_seq` is its last event) only the balance is known; the rest is None.

    `available` is what can be spent; None for no bound.
    """

    id: str
    owner_id: str | None
    kind: str
    asset: str
    code: int
    balance: int
    opened_seq: int
    opened_at: str
    debits_posted: int | None = None
    credits_posted: int | None = None
    debits_pending: int | None = None
    credits_pending: int | None = None
    status: str | None = None
    flags: int | None = None
    credit_limit: int | None = None
    available: int | None = None
    as_of_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transfer. `replayed`: it had been made before, by the same id or key."""

    id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    asset: str
    code: int
    kind: str
    description: str
    metadata: Mapping[str, Any]
    status: Literal["posted", "pending", "voided", "expired", "reversed"]
    seq: int
    block: int
    inserted_at: str
    pending_id: str | None = None
    reverses_id: str | None = None
    expires_at: str | None = None
    resolved_by: str | None = None
    annotated_seq: int | None = None
    annotated_at: str | None = None
    etag: str = ""
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Transaction):
    """A transfer in an account's history, with the account's balance after it."""

    direction: Literal["debit", "credit"]
    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of one transfer of a batch: `seq` and `block`, or `code` and `detail` if it was refused."""

    index: int
    id: str
    status: str
    seq: int | None = None
    block: int | None = None
    code: str | None = None
    detail: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch that was decided: how many of its transfers were accepted, refused, and had been decided before."""

    atomic: bool
    accepted: int
    refused: int
    replayed: int
    results: list[BatchResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product; `price` is that of one unit, in minor units of `asset`."""

    id: str
    sku: str
    name: str
    description: str
    price: int
    asset: str
    stock: int
    units_asset: str
    stock_account_id: str
    shop_account_id: str
    inserted_at: str
    updated_at: str
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restock:
    """Units that came into stock, and how many there are now."""

    product_id: str
    quantity: int
    stock: int
    transaction: Transaction
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """Money one way and units the other."""

    id: str
    product_id: str
    sku: str
    quantity: int
    price: int
    amount: int
    asset: str
    account_id: str
    units_account_id: str
    inserted_at: str
    payment: Transaction
    units: Transaction
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of the ledger; hashes are hexadecimal."""

    height: int
    hash: str
    prev_hash: str
    tree_size: int
    tree_root: str
    first_seq: int
    inserted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetTotals:
    """One asset's sums over all accounts."""

    asset: str
    accounts: int
    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int
    difference: int
    difference_pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """All assets as of one event, and whether debits are credits in each."""

    assets: list[AssetTotals]
    balanced: bool
    as_of_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That a transfer is in the log: its leaf, the path to the root (hexadecimal), and the signed checkpoint."""

    index: int
    leaf: str
    leaf_hash: str
    proof: list[str]
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """That the tree of `new` events extends that of `old` (hexadecimal)."""

    old: int
    new: int
    proof: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of the service."""

    status: str
    timestamp: str
    database: str
    ledger: str
    version: str

    @property
    def healthy(self) -> bool:
        """Transfers can be made."""
        return self.status == "healthy"
