"""Accounts and transactions.

Whatever moves money carries an id or an `Idempotency-Key`; where the caller gives none, the client makes one. So a
request that got no answer is repeated, and done once. Who wants that to hold beyond this client's deadline, or its
life, keeps the key and calls again with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypedDict, Unpack

from bitnexus.http.client.listing import Listing
from bitnexus.http.client.models import Account, Batch, Entry, Proof, Transaction
from bitnexus.http.client.transport import Answer, Request, Transport

ACCOUNTS: Final = "/api/v1/accounts"
TRANSACTIONS: Final = "/api/v1/transactions"
BATCH: Final = f"{TRANSACTIONS}/batch"
#: In the place of an account's id: the asset's world account, by which money enters and leaves.
WORLD: Final = "world"


def keyed(key: str | None, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers, with a key by which the service knows a repeated request again."""
    return {**(headers or {}), "Idempotency-Key": uuid.uuid4().hex if key is None else key}


def given(**fields: object) -> dict[str, Any]:
    """Those of the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


class Words(TypedDict, total=False):
    """What else a transfer may have."""

    asset: str
    code: int
    description: str
    metadata: Mapping[str, Any]


class Accounts:
    """Accounts: one's own; an admin freezes and closes any."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 50) -> Listing[Account]:
        """The caller's accounts, oldest first."""
        return Listing(self._transport, ACCOUNTS, Account, {"limit": limit})

    async def get(self, account_id: str, *, at: str | int | None = None) -> Account:
        """One account; `at`: after the event of that number, or at that time (RFC 3339), instead of now."""
        query = given(at=at)
        path = f"{ACCOUNTS}/{account_id}"
        answer = await self._transport.send(Request(method="GET", path=path, query=query, is_safe=True))
        return answer.data(Account) if at is None else answer.data(Account, as_of_seq=answer.json().get("as_of_seq"))

    def history(self, account_id: str, *, limit: int = 50) -> Listing[Entry]:
        """The account's transfers, newest first, each with the balance after it."""
        return Listing(self._transport, f"{ACCOUNTS}/{account_id}/history", Entry, {"limit": limit})

    async def open(
        self,
        *,
        asset: str | None = None,
        owner_id: str | None = None,
        code: int | None = None,
        flags: int | None = None,
        credit_limit: int | None = None,
        key: str | None = None,
    ) -> Account:
        """One more account, of the caller's unless an admin or a service says whose; in the default asset."""
        account = given(asset=asset, owner_id=owner_id, code=code, flags=flags, credit_limit=credit_limit)
        request = Request(method="POST", path=ACCOUNTS, body={"account": account}, headers=keyed(key), is_safe=True)
        return (await self._transport.send(request)).data(Account)

    async def freeze(self, account_id: str) -> Account:
        """Let no transfer from or to the account through (admins)."""
        return await self._change(account_id, "freeze")

    async def unfreeze(self, account_id: str) -> Account:
        """Let transfers through again (admins)."""
        return await self._change(account_id, "unfreeze")

    async def close(self, account_id: str) -> Account:
        """Close an empty account, for good (admins)."""
        return await self._change(account_id, "close")

    async def _change(self, account_id: str, action: str) -> Account:
        # What is so already stays so: repeating it does no harm.
        request = Request(method="POST", path=f"{ACCOUNTS}/{account_id}/{action}", is_safe=True)
        return (await self._transport.send(request)).data(Account)


class Transactions:
    """Transfers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, account_id: str | None = None, limit: int = 50) -> Listing[Transaction]:
        """The caller's transfers, newest first; of one account, or of all."""
        return Listing(self._transport, TRANSACTIONS, Transaction, given(account_id=account_id, limit=limit))

    async def get(self, transaction_id: str) -> Transaction:
        """One transfer, with what has become of it."""
        path = f"{TRANSACTIONS}/{transaction_id}"
        return _transaction(await self._transport.send(Request(method="GET", path=path, is_safe=True)))

    async def proof(self, transaction_id: str) -> Proof:
        """The proof that it is in the log."""
        path = f"{TRANSACTIONS}/{transaction_id}/proof"
        return (await self._transport.send(Request(method="GET", path=path, is_safe=True))).data(Proof)

    async def post(
        self,
        *,
        debit: str,
        credit: str,
        amount: int,
        transfer_id: str | None = None,
        key: str | None = None,
        **words: Unpack[Words],
    ) -> Transaction:
        """Move `amount` minor units now. `words`: `asset`, `code`, `description`, `metadata`.

        `transfer_id` (a UUID) or `key`, one of them, names the transfer: the same again moves nothing twice.

        Raises:
            Refused: by the ledger, for good (`problem.code`: ``exceeds_credits``, …).
            NoAnswer, Unavailable: repeat it with the same `transfer_id` or `key`.
        """
        return await self._ask(
            transfer_id, key, debit_account_id=debit, credit_account_id=credit, amount=amount, **words
        )

    async def reserve(
        self,
        *,
        debit: str,
        credit: str,
        amount: int,
        timeout_s: int | None = None,
        transfer_id: str | None = None,
        key: str | None = None,
        **words: Unpack[Words],
    ) -> Transaction:
        """Reserve `amount`, to be posted or voided later; `timeout_s`: then it is released by itself. As `post`."""
        asked = given(debit_account_id=debit, credit_account_id=credit, amount=amount, timeout_s=timeout_s)
        return await self._ask(transfer_id, key, kind="pending", **asked, **words)

    async def post_pending(
        self, pending_id: str, *, amount: int | None = None, key: str | None = None, **words: Unpack[Words]
    ) -> Transaction:
        """Post what was reserved, or a part of it; the rest is released."""
        return await self._ask(None, key, kind="post_pending", pending_id=pending_id, **given(amount=amount), **words)

    async def void(self, pending_id: str, *, key: str | None = None) -> Transaction:
        """Release what was reserved."""
        return await self._ask(None, key, kind="void_pending", pending_id=pending_id)

    async def reverse(self, transaction_id: str, *, key: str | None = None, **words: Unpack[Words]) -> Transaction:
        """Move what was posted back, once (admins)."""
        return await self._ask(None, key, kind="reversal", reverses_id=transaction_id, **words)

    async def annotate(
        self,
        transaction_id: str,
        *,
        etag: str = "*",
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Transaction:
        """Have other words stand at a transfer; what is not given stays.

        Raises:
            PreconditionFailed: it has other words than those that `etag` was read with.
        """
        request = Request(
            method="PATCH",
            path=f"{TRANSACTIONS}/{transaction_id}",
            body={"transaction": given(description=description, metadata=metadata)},
            headers=keyed(key, {"If-Match": etag}),
            # Known again by its key; but a version is the old one once it is done.
            is_safe=etag == "*",
        )
        return _transaction(await self._transport.send(request))

    async def batch(
        self, transactions: Iterable[Mapping[str, Any]], *, atomic: bool = False, key: str | None = None
    ) -> Batch:
        """Up to 8,000 transfers (fields as of POST /transactions): each decided alone, or with `atomic` all or none.

        Raises:
            Refused: an atomic batch; `problem.index` is the place of the transfer that was the reason.
        """
        these = list(transactions)
        # Ids of their own make a batch safe as well, and cannot stand beside a key.
        named = bool(these) and all("id" in each for each in these)
        headers = {} if named and key is None else keyed(key)
        body = {"transactions": these, "atomic": atomic}
        request = Request(method="POST", path=BATCH, body=body, headers=headers, is_safe=True)
        return (await self._transport.send(request)).data(Batch)

    async def batch_of(self, content: bytes) -> Answer:
        """As `batch`, of a body that is JSON already and whose transfers have ids; the answer as it is."""
        return await self._transport.send(Request(method="POST", path=BATCH, content=content, is_safe=True))

    async def _ask(self, id_: str | None, key: str | None, **fields: object) -> Transaction:
        headers = keyed(key) if id_ is None or key is not None else {}
        body = {"transaction": {**fields, **given(id=id_)}}
        request = Request(method="POST", path=TRANSACTIONS, body=body, headers=headers, is_safe=True)
        return _transaction(await self._transport.send(request))


def _transaction(answer: Answer) -> Transaction:
    return answer.data(Transaction, **answer.known)
