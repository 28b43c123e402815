"""Accounts and assets: ids, flags, totals, and what a well-formed code looks like. Pure.

An asset is a code and a scale, ``USD/2`` or ``SKU:MUG-01/0``: amounts are integers of ``10**-scale`` units. Each
asset has one `world` account, unbounded, owned by nobody, through which it enters and leaves the ledger; its id
follows from the asset, so every process knows it without asking. So do those of the shop: the account that takes the
money paid in an asset, and the one that has a product's units in stock, whose asset is ``SKU:<code>/0``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias
from uuid import UUID, uuid5

from bitnexus.actors.ledger.log import text

#: The account's debits may never exceed its credits: a balance that cannot go below zero (every user's account).
DEBITS_MUST_NOT_EXCEED_CREDITS: Final = 1
#: The account's credits may never exceed its debits.
CREDITS_MUST_NOT_EXCEED_DEBITS: Final = 2

ALL_FLAGS: Final = 3

#: The state of an account. A frozen one takes no new transfers; what is pending can still be voided and expire.
OPEN: Final = 0
FROZEN: Final = 1
CLOSED: Final = 2
STATUSES: Final = ("open", "frozen", "closed")

#: Largest amount of one transfer: exact in every JSON client.
MAX_AMOUNT: Final = 2**53 - 1
#: Largest total of an account's debits or credits: a signed 64-bit integer of the database.
MAX_TOTAL: Final = 2**63 - 1
#: Largest account or transfer code: a signed 32-bit integer of the database.
MAX_CODE: Final = 2**31 - 1

#: account totals and state, as `Account.totals` gives them
Totals: TypeAlias = tuple[int, int, int, int, int]

#: Who asks for what the ledger does of itself.
NOBODY_ID: Final = str(UUID(int=0))

_WORLD_NAMESPACE: Final = UUID("5b1f6f0e-7f0c-5d0a-9c5e-0d6a4b4e5c11")
_ASSET: Final = re.compile(r"[A-Z][A-Za-z0-9:._-]{0,59}/(?:[0-9]|1[0-8])")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@lru_cache(maxsize=1024)
def world_account_id(asset: str) -> str:
    """The id of the asset's world account, the same for ever and everywhere."""
    return str(uuid5(_WORLD_NAMESPACE, "world:" + asset))


@lru_cache(maxsize=1024)
def shop_account_id(asset: str) -> str:
    """The id of the account that takes what is paid for products in this asset."""
    return str(uuid5(_WORLD_NAMESPACE, "shop:" + asset))


@lru_cache(maxsize=1024)
def stock_account_id(asset: str) -> str:
    """The id of the account that holds the units for sale of a product's asset."""
    return str(uuid5(_WORLD_NAMESPACE, "stock:" + asset))


def house_account(account_id: str, asset: str) -> str:
    """Which of the accounts without an owner that every process knows this is: "world", "shop", "stock"; "" for none.

    An admin or a service may debit them.
    """
    if account_id == world_account_id(asset):
        return "world"
    if account_id == shop_account_id(asset):
        return "shop"
    return "stock" if account_id == stock_account_id(asset) else ""


def units_transfer_id(purchase_id: str) -> str:
    """The id of the transfer of a purchase's units; that of its payment is the purchase's own."""
    return str(uuid5(UUID(purchase_id), "units"))


def expiry_id(pending_id: str) -> str:
    """The id of the event that a pending transfer's time was over."""
    return str(uuid5(UUID(pending_id), "expire"))


@lru_cache(maxsize=1024)
def is_asset(value: str) -> bool:
    """Whether `value` is a well-formed asset: a code of at most 60 characters, a slash, a scale of 0 … 18."""
    return _ASSET.fullmatch(value) is not None


#: A match if the text is a UUID in its canonical lower-case form, else None.
canonical_uuid = _UUID.fullmatch

_DIGITS_TO_ZERO: Final = bytes(
    ord("0") if byte in b"0123456789abcdef" else byte if byte in b"-," else ord("x") for byte in range(256)
)
_ALL_ZERO: Final = str(UUID(int=0)).encode()


def are_canonical_uuids(values: Sequence[str]) -> bool:
    """As `canonical_uuid`, of all of them, for a fifth of what that takes."""
    shape = ",".join(values).encode(errors="replace").translate(_DIGITS_TO_ZERO)
    return shape == b",".join([_ALL_ZERO] * len(values))


def uuid_bytes(value: str) -> bytes:
    """The 16 bytes of a canonical UUID; of "", which names nobody, zeros."""
    return bytes.fromhex(value.replace("-", "")) if value else bytes(16)


def all_uuid_bytes(values: Sequence[str]) -> list[bytes]:
    """As `uuid_bytes`, of all of them; none may be ""."""
    joined = bytes.fromhex("".join(values).replace("-", ""))
    return [joined[at : at + 16] for at in range(0, len(joined), 16)]


class Account:
    """An account, its totals in minor units of its asset, and its state.

    The bounded side (`flags`) may not exceed the posted other side by more than `credit_limit`; what is pending on it
    counts, what is pending on the other side does not.
    """

    __slots__ = (
        "asset",
        "asset_text",
        "code",
        "credit_limit",
        "credits_pending",
        "credits_posted",
        "debits_pending",
        "debits_posted",
        "flags",
        "id",
        "opened_block",
        "opened_seq",
        "opened_us",
        "owner_id",
        "raw",
        "salt",
        "state",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the column's name
        *,
        owner_id: str,
        asset: str,
        code: int = 0,
        flags: int = DEBITS_MUST_NOT_EXCEED_CREDITS,
        credit_limit: int = 0,
        debits_posted: int = 0,
        credits_posted: int = 0,
        debits_pending: int = 0,
        credits_pending: int = 0,
        state: int = OPEN,
        opened_seq: int = 0,
        opened_block: int = 0,
        opened_us: int = 0,
        salt: bytes = b"",
    ) -> None:
        self.id = id
        self.raw = uuid_bytes(id)
        self.owner_id = owner_id
        self.asset = asset
        self.asset_text = text(asset)
        self.code = code
        self.flags = flags
        self.credit_limit = credit_limit
        self.debits_posted = debits_posted
        self.credits_posted = credits_posted
        self.debits_pending = debits_pending
        self.credits_pending = credits_pending
        self.state = state
        self.opened_seq = opened_seq
        self.opened_block = opened_block
        self.opened_us = opened_us
        self.salt = salt

    @property
    def balance(self) -> int:
        """Credits - debits: what its owner has."""
        return self.credits_posted - self.debits_posted

    @property
    def totals(self) -> Totals:
        """Debits posted, credits posted, debits pending, credits pending; and the state."""
        return self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending, self.state

    @totals.setter
    def totals(self, totals: Totals) -> None:
        self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending, self.state = totals

    @property
    def is_within_limits(self) -> bool:
        """Whether every total can be stored, nothing pending is negative, and no flag's bound is exceeded."""
        debits, credits_ = self.debits_posted + self.debits_pending, self.credits_posted + self.credits_pending
        flags, limit = self.flags, self.credit_limit
        return not (
            self.debits_pending < 0
            or self.credits_pending < 0
            or debits > MAX_TOTAL
            or credits_ > MAX_TOTAL
            or (flags & DEBITS_MUST_NOT_EXCEED_CREDITS and debits > self.credits_posted + limit)
            or (flags & CREDITS_MUST_NOT_EXCEED_DEBITS and credits_ > self.debits_posted + limit)
        )

    def __repr__(self) -> str:
        debits, credits_ = (self.debits_posted, self.debits_pending), (self.credits_posted, self.credits_pending)
        return f"<Account {self.id} {self.asset} {STATUSES[self.state]} debits={debits} credits={credits_}>"
