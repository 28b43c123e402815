"""The shapes of accounts and of what stands in them."""

from __future__ import annotations

from typing import Literal

from bitnexus.http.shapes.base import Seq, Shape, Time, Uuid
from bitnexus.http.shapes.transactions import Transaction


class AccountAt(Shape):
    """An account as it was at a moment of the past; amounts are in minor units of the asset."""

    id: Uuid
    owner_id: Uuid | None
    kind: Literal["user", "world", "shop", "stock", "house"]
    asset: str
    code: int
    balance: int
    opened_seq: Seq
    opened_at: Time


class Account(AccountAt):
    """An account; `available` is what can be spent, null for no bound."""

    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int
    status: Literal["open", "frozen", "closed"]
    flags: int
    credit_limit: int
    available: int | None


class Entry(Transaction):
    """A transfer in the history of one of its accounts, with that account's balance after it."""

    direction: Literal["debit", "credit"]
    balance: int
