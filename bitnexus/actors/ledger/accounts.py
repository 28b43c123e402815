"""Accounts and assets: ids, flags, and what a well-formed code looks like. Pure.

An asset is a code and a scale, ``USD/2`` or ``SKU:MUG-01/0``: amounts are integers of ``10**-scale`` units. Each
asset has one `world` account, unbounded, owned by nobody, through which it enters and leaves the ledger; its id
follows from the asset, so every process knows it without asking.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from uuid import UUID, uuid5

#: The account's debits may never exceed its credits: a balance that cannot go below zero (every user's account).
DEBITS_MUST_NOT_EXCEED_CREDITS: Final = 1
#: The account's credits may never exceed its debits.
CREDITS_MUST_NOT_EXCEED_DEBITS: Final = 2

#: Largest amount of one transfer: exact in every JSON client.
MAX_AMOUNT: Final = 2**53 - 1
#: Largest total of an account's debits or credits: a signed 64-bit integer of the database.
MAX_TOTAL: Final = 2**63 - 1
#: Largest account or transfer code: a signed 32-bit integer of the database.
MAX_CODE: Final = 2**31 - 1

_WORLD_NAMESPACE: Final = UUID("5b1f6f0e-7f0c-5d0a-9c5e-0d6a4b4e5c11")
_ASSET: Final = re.compile(r"[A-Z][A-Za-z0-9:._-]{0,59}/(?:[0-9]|1[0-8])")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@lru_cache(maxsize=1024)
def world_account_id(asset: str) -> str:
    """The id of the asset's world account, the same for ever and everywhere."""
    return str(uuid5(_WORLD_NAMESPACE, "world:" + asset))


@lru_cache(maxsize=1024)
def is_asset(text: str) -> bool:
    """Whether `text` is a well-formed asset: a code of at most 60 characters, a slash, a scale of 0 … 18."""
    return _ASSET.fullmatch(text) is not None


#: A match if the text is a UUID in its canonical lower-case form, else None.
canonical_uuid = _UUID.fullmatch


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a canonical UUID."""
    return bytes.fromhex(text.replace("-", ""))
