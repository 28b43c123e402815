"""A client of the HTTP API: asynchronous, typed, and safe to repeat.

    async with Client("https://money.example.com") as api:
        await api.auth.login("ann@example.com", "correct horse")
        account = await api.accounts.open()
        paid = await api.transactions.post(debit=mine, credit=account.id, amount=2500, description="lunch")
        async for entry in api.accounts.history(account.id):
            print(entry.inserted_at, entry.direction, entry.amount, entry.balance)

What an access token is renewed with, how requests are repeated and what each error means: docs/clients.md. It needs
nothing of the service but this package: no settings, no database, no node.
"""

from bitnexus.http.client.client import Client
from bitnexus.http.client.listing import Listing, Page
from bitnexus.http.client.models import (
    Account,
    AssetTotals,
    Batch,
    BatchResult,
    Block,
    Consistency,
    Entry,
    Health,
    Product,
    Proof,
    Purchase,
    Restock,
    Session,
    Transaction,
    TrialBalance,
    User,
)
from bitnexus.http.client.money import WORLD
from bitnexus.http.client.problems import (
    ApiError,
    ClientError,
    Conflict,
    Forbidden,
    InvalidFields,
    NoAnswer,
    NotFound,
    NotUnderstood,
    PreconditionFailed,
    Problem,
    Refused,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from bitnexus.http.client.tokens import Tokens
from bitnexus.http.client.transport import Answer

__all__ = [
    "WORLD",
    "Account",
    "Answer",
    "ApiError",
    "AssetTotals",
    "Batch",
    "BatchResult",
    "Block",
    "Client",
    "ClientError",
    "Conflict",
    "Consistency",
    "Entry",
    "Forbidden",
    "Health",
    "InvalidFields",
    "Listing",
    "NoAnswer",
    "NotFound",
    "NotUnderstood",
    "Page",
    "PreconditionFailed",
    "Problem",
    "Product",
    "Proof",
    "Purchase",
    "Refused",
    "Restock",
    "Session",
    "Tokens",
    "TooManyRequests",
    "Transaction",
    "TrialBalance",
    "Unauthenticated",
    "Unavailable",
    "User",
]
