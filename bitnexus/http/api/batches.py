"""Batches: up to 8,000 transfers in one request and one message to the ledger, a result for each.

Each transfer is decided alone, in their order; or all of them together, if the batch is atomic. The whole batch is
refused, before any effect, when one of its transfers breaks the form or is not the caller's to ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from bitnexus.actors.ledger.commands import MAX_BATCH
from bitnexus.actors.messages import PostTransfers, Transfer, TransferReceipts, TransferRequest
from bitnexus.actors.representation import STATUS
from bitnexus.errors import (
    REFUSALS,
    BatchRefused,
    Forbidden,
    InvalidFields,
    NotFound,
    PayloadTooLarge,
    UnknownMessage,
    Violation,
)
from bitnexus.http.answers import expect
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transactions import EXAMPLE, TransactionFields
from bitnexus.http.api.transfer_commands import PATH, REPLAYED, subjects_of
from bitnexus.http.api.transfer_requests import request_of
from bitnexus.http.budget import Budget
from bitnexus.http.described import LEDGER, Described
from bitnexus.http.idempotency import idempotency_key, transfer_ids
from bitnexus.http.routes import Call, Route, data
from bitnexus.http.services import Services
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.transactions import Batch
from bitnexus.http.validation import Model
from bitnexus.identifiers import new_transfer_id

#: With these the message to the ledger stays below the bound of messages (wire.MAX_MESSAGE_BYTES).
MAX_BATCH_BYTES: Final = 3 * 1024 * 1024
MAX_METADATA_OF_ALL: Final = 2 * 1024 * 1024
#: Transfers of batches that one front has under way: two such fronts fill what the ledger lets wait.
MAX_UNDER_WAY: Final = 16_384
#: Refused transfers of a chain, but for the one that was the reason.
FOLLOWED: Final = "linked_event_failed"


class CreateBatch(Model):
    """The body of POST /transactions/batch. `atomic`: all of them, or none."""

    transactions: Annotated[list[TransactionFields], Field(min_length=1, max_length=MAX_BATCH)]
    atomic: bool = False


class Batches(Resource):
    """The resource."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._under_way = Budget(MAX_UNDER_WAY)

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route(
                "POST",
                f"{PATH}/batch",
                self.create,
                "Post many transfers at once",
                body=CreateBatch,
                body_bytes=MAX_BATCH_BYTES,
                described=Described(
                    {200: One[Batch]},
                    errors=(Forbidden, NotFound),
                    refusals=LEDGER,
                    idempotent=True,
                    example={"atomic": True, "transactions": [EXAMPLE["transaction"]]},
                ),
            )
        ]

    async def create(self, call: Call[CreateBatch, None]) -> web.Response:
        """Have a batch decided: 200 and a result for each transfer, refused ones among them.

        With an Idempotency-Key the ids follow from it and the place in the batch. Repeating a batch is safe: what was
        decided is not decided again. `Idempotent-Replayed` if that holds for all of it.

        Raises:
            BatchRefused: an atomic batch, by the ledger, for good.
            BitNexusError: before any effect, or with an unknown one; repeating with the same ids or key is safe.
        """
        services, caller, batch = self._services, call.principal, call.body
        requests = await self._requests(call)
        async with self._under_way.take(len(requests), timeout_s=services.call_timeout_s / 2):
            answer = await services.node.call(
                services.partitions.of(caller.user_id),
                PostTransfers(caller.user_id, caller.role, requests, brief=True),
                timeout_s=services.call_timeout_s,
                retry=True,
            )
        receipts = expect(TransferReceipts, answer)
        if len(receipts.seqs) != len(requests):
            raise UnknownMessage("the answer is to another batch")
        results = _results(requests, receipts)
        replayed = len(receipts.replayed) == len(requests)
        if batch.atomic and receipts.refusals:
            at = next((at for at, code in receipts.refusals.items() if code != FOLLOWED), 0)
            raise BatchRefused(receipts.refusals[at], at, results, replayed=replayed)
        refused = len(receipts.refusals)
        shown = {
            "atomic": batch.atomic,
            "accepted": len(requests) - refused,
            "refused": refused,
            "replayed": len(receipts.replayed),
            "results": results,
        }
        return data(shown, headers=REPLAYED if replayed else None)

    async def _requests(self, call: Call[CreateBatch, None]) -> list[TransferRequest]:
        caller, batch = call.principal, call.body
        ids = _ids(batch.transactions, call.request.headers.get("Idempotency-Key"), caller.user_id)
        # Most batches refer to nothing.
        refers = any(asked.pending_id or asked.reverses_id for asked in batch.transactions)
        subjects: dict[str, Transfer | TransferRequest] = {}
        if refers:
            subjects.update(await subjects_of(self._services, caller, batch.transactions))
        made: list[TransferRequest] = []
        last = len(ids) - 1
        for at, asked in enumerate(batch.transactions):
            request = request_of(
                asked,
                ids[at],
                subjects,
                caller,
                self._services.default_asset,
                f"#/transactions/{at}",
                linked=batch.atomic and at != last,
            )
            made.append(request)
            if refers:
                subjects.setdefault(request.transfer_id, request)
        if sum(len(request.metadata) for request in made) > MAX_METADATA_OF_ALL:
            raise PayloadTooLarge(f"The metadata of a batch may have {MAX_METADATA_OF_ALL} bytes")
        return made


def _ids(all_asked: Sequence[TransactionFields], key: str | None, user_id: str) -> list[str]:
    """The transfers' ids: from the Idempotency-Key, those in the body, or new ones."""
    if key is None:
        return [asked.id or new_transfer_id() for asked in all_asked]
    mixed = next((at for at, asked in enumerate(all_asked) if asked.id is not None), None)
    if mixed is not None:
        violation = Violation(f"#/transactions/{mixed}/id", "cannot be given together with an Idempotency-Key")
        raise InvalidFields(violations=(violation,))
    id_of: Callable[[int], str] = transfer_ids(user_id, idempotency_key(key))
    return [id_of(at) for at in range(len(all_asked))]


def _results(requests: Sequence[TransferRequest], receipts: TransferReceipts) -> list[dict[str, Any]]:
    """A result for each transfer, in their order."""
    results: list[dict[str, Any]] = [
        {"index": at, "id": request.transfer_id, "status": STATUS[request.kind], "seq": seq, "block": block}
        for at, (request, seq, block) in enumerate(zip(requests, receipts.seqs, receipts.blocks, strict=True))
    ]
    for at, code in receipts.refusals.items():
        id_ = requests[at].transfer_id
        results[at] = {"index": at, "id": id_, "status": "refused", "code": code, "detail": REFUSALS[code].message}
    for at in receipts.replayed:
        results[at]["replayed"] = True
    return results
