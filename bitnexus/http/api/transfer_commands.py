"""Transfers of the other kinds: pending ones, what posts or voids them, reversals; and what became of a transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import StringConstraints

from bitnexus.actors import representation
from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.actors.messages import (
    AnnotateTransfer,
    PostTransfers,
    Transfer,
    TransferAnnotated,
    TransferRequest,
    TransferResults,
)
from bitnexus.errors import Conflict, Forbidden, NotFound, Refused, UnknownMessage
from bitnexus.http.answers import expect
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transfer_requests import (
    MAX_DESCRIPTION,
    REVERSAL,
    Asked,
    canonical,
    id_of,
    request_of,
    subject_id,
)
from bitnexus.http.described import LEDGER, Described
from bitnexus.http.etags import etag, versions_to_match
from bitnexus.http.fast_path import Answer, Headers
from bitnexus.http.fields import IDEMPOTENCY_KEY
from bitnexus.http.routes import JSON_TYPE, ONE, Call, Route, data, data_json
from bitnexus.http.services import Services
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.transactions import Transaction
from bitnexus.http.validation import JsonObject, Model
from bitnexus.principal import Principal
from bitnexus.storage import ledger
from bitnexus.storage.ledger_annotations import annotations_of
from bitnexus.storage.ledger_transfer_now import transfers_now

PATH: Final = "/api/v1/transactions"
REPLAYED: Final = {"Idempotent-Replayed": "true"}
PENDING: Final = "pending"
VOID: Final = "void_pending"


class AnnotationFields(Model):
    """The words that are to stand at a transfer."""

    description: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=MAX_DESCRIPTION)] = ""
    metadata: JsonObject | None = None


class AnnotateTransaction(Model):
    """The body of PUT and PATCH /transactions/:id."""

    transaction: AnnotationFields


class TransferCommands(Resource):
    """What can be done to transfers besides posting a plain one."""

    def routes(self) -> list[Route]:
        """The routes of these commands."""
        one = PATH + ONE
        annotated = Described(
            {200: One[Transaction]},
            errors=(Forbidden, NotFound, Conflict),
            idempotent=True,
            if_match=True,
            example={"transaction": {"description": "lunch, without the wine", "metadata": {"receipt": 17}}},
        )
        undone = Described({200: One[Transaction]}, errors=(Forbidden, NotFound), refusals=LEDGER, idempotent=True)
        body = AnnotateTransaction
        return [
            Route("PUT", one, self.replace, "Replace description and metadata", body=body, described=annotated),
            Route("PATCH", one, self.change, "Change description or metadata", body=body, described=annotated),
            Route("DELETE", one, self.delete, "Void a pending transfer, or reverse a posted one", described=undone),
        ]

    async def create(self, headers: Headers, caller: Principal, asked: Any) -> Answer:  # noqa: ANN401 - an Asked with an id
        """A transfer of any kind: 201 the first time, 200 and `Idempotent-Replayed` when the id was used so before.

        Raises:
            Refused: by the ledger, for good.
            BitNexusError: before any effect, or with an unknown one; repeating with the same id or key is safe.
        """
        id_ = id_of(headers.get(IDEMPOTENCY_KEY), asked.id, caller.user_id)
        subjects = await subjects_of(self._services, caller, [asked])
        made = request_of(asked, id_, subjects, caller, self._services.default_asset, "#/transaction")
        transfer, replayed = await self._post(caller, made)
        return answer_of(transfer, replayed=replayed)

    async def delete(self, call: Call[None, None]) -> web.Response:
        """Void a pending transfer of the caller's, or reverse a posted one (an admin): 200 and the transfer that does.

        Without an Idempotency-Key every repeat is a new attempt, so that what was refused can succeed later.

        Raises:
            NotFound: no such transfer, or not the caller's to see.
            Forbidden: the caller sees it, but neither pays it nor is an admin.
            Refused: by the ledger, for good, as far as this attempt's id goes.
        """
        wanted, caller = call.request.match_info["id"], call.principal
        transfer, payer = await self._visible(caller, wanted)
        if transfer.kind == PENDING:
            if not (payer == caller.user_id or caller.may_use_world):
                raise Forbidden("Only who is to pay may void a pending transfer")
            accounts, pending_id, reverses_id = (transfer.debit_account_id, transfer.credit_account_id), wanted, ""
        else:
            if not caller.is_admin:
                raise Forbidden("Only an admin may reverse a transfer")
            accounts, pending_id, reverses_id = (transfer.credit_account_id, transfer.debit_account_id), "", wanted
        key = call.request.headers.get(IDEMPOTENCY_KEY)
        id_ = id_of(key, None, caller.user_id)
        kind = VOID if pending_id else REVERSAL
        made = TransferRequest(
            id_, *accounts, transfer.amount, transfer.asset, kind, pending_id=pending_id, reverses_id=reverses_id
        )
        done, replayed = await self._post(caller, made)
        return data(representation.transaction(done), headers=REPLAYED if replayed else None)

    async def replace(self, call: Call[AnnotateTransaction, None]) -> web.Response:
        """Have this description and metadata stand at a transfer: 200 and the transfer as it is shown from now on.

        What is left out becomes empty. It is an event of the log; what was recorded with the transfer stays in there.

        Raises:
            NotFound: no such transfer, or not the caller's to see.
            Forbidden: the caller sees it, but did not pay it.
            PreconditionRequired: there is no If-Match.
            PreconditionFailed: it has other words by now.
            Conflict: the Idempotency-Key was used for other words.
        """
        versions = versions_to_match(call.request.headers.get("If-Match"))
        transfer = await self._annotatable(call)
        fields = call.body.transaction
        metadata = canonical(fields.metadata, "#/transaction") if fields.metadata else ""
        if_seqs = None if versions is None else sorted(versions)
        return await self._annotate(call, transfer, fields.description, metadata, if_seqs)

    async def change(self, call: Call[AnnotateTransaction, None]) -> web.Response:
        """As :meth:`replace`, but what is left out stays as it is."""
        versions = versions_to_match(call.request.headers.get("If-Match"))
        transfer = await self._annotatable(call)
        fields = call.body.transaction
        async with self._services.database.connection() as connection:
            now = (await annotations_of(connection, [transfer.transfer_id])).get(transfer.transfer_id, transfer)
        description, metadata = now.description, now.metadata
        if "description" in fields.model_fields_set:
            description = fields.description
        if "metadata" in fields.model_fields_set:
            metadata = canonical(fields.metadata, "#/transaction") if fields.metadata else ""
        # What was left out is what has just been read, and must still stand there.
        if_seqs = [now.seq] if versions is None or now.seq in versions else []
        return await self._annotate(call, transfer, description, metadata, if_seqs)

    async def _annotatable(self, call: Call[AnnotateTransaction, None]) -> Transfer:
        transfer, payer = await self._visible(call.principal, call.request.match_info["id"])
        if not (payer == call.principal.user_id or call.principal.may_use_world):
            raise Forbidden("Only who paid may say something else of a transfer")
        return transfer

    async def _annotate(
        self,
        call: Call[AnnotateTransaction, None],
        transfer: Transfer,
        description: str,
        metadata: str,
        if_seqs: list[int] | None,
    ) -> web.Response:
        caller = call.principal
        command = AnnotateTransfer(
            user_id=caller.user_id,
            role=caller.role,
            annotation_id=id_of(call.request.headers.get(IDEMPOTENCY_KEY), None, caller.user_id),
            transfer_id=transfer.transfer_id,
            debit_account_id=transfer.debit_account_id,
            description=description,
            metadata=metadata,
            if_seqs=if_seqs,
        )
        target = self._services.partitions.of(caller.user_id)
        timeout_s = self._services.call_timeout_s
        expect(TransferAnnotated, await self._services.node.call(target, command, timeout_s=timeout_s, retry=True))
        async with self._services.database.connection() as connection:
            now = await transfers_now(connection, [transfer.transfer_id])
        shown = representation.as_it_is(*now[transfer.transfer_id].as_it_is)
        return data(shown, headers={"ETag": tag_of(shown)})

    async def _visible(self, caller: Principal, wanted: str) -> tuple[Transfer, str]:
        """The transfer and the debit account's owner, if it touches an account of the caller's or the caller asked."""
        if not canonical_uuid(wanted):
            raise NotFound
        async with self._services.database.connection() as connection:
            transfer, payer = (await ledger.transfers_with_payers(connection, [wanted])).get(wanted, (None, ""))
            if transfer is None:
                raise NotFound
            if not (caller.may_use_world or caller.user_id in (transfer.user_id, payer)):
                payee = await ledger.account_by_id(connection, transfer.credit_account_id)
                if payee is None or payee.owner_id != caller.user_id:
                    raise NotFound
        return transfer, payer

    async def _post(self, caller: Principal, made: TransferRequest) -> tuple[Transfer, bool]:
        """The transfer, and whether it had been made before."""
        answer = await self._services.node.call(
            self._services.partitions.of(caller.user_id),
            PostTransfers(caller.user_id, caller.role, [made]),
            timeout_s=self._services.call_timeout_s,
            retry=True,
        )
        results = expect(TransferResults, answer).results
        if [result.transfer_id for result in results] != [made.transfer_id]:
            raise UnknownMessage("the answer is to another transfer")
        (result,) = results
        if result.refusal is not None:
            raise Refused(result.refusal, replayed=result.replayed)
        if result.transfer is None:
            raise UnknownMessage("neither a transfer nor a refusal")
        return result.transfer, result.replayed


async def subjects_of(services: Services, caller: Principal, all_asked: Sequence[Asked]) -> Mapping[str, Transfer]:
    """The transfers to which those asked for refer and from which something may follow: they exist, the caller's own.

    An admin or a service may refer to any.
    """
    ids = {id_ for id_ in map(subject_id, all_asked) if id_ is not None}
    if not ids:
        return {}
    async with services.database.connection() as connection:
        found = await ledger.transfers_with_payers(connection, ids)
    everything = caller.may_use_world
    return {id_: transfer for id_, (transfer, payer) in found.items() if everything or payer == caller.user_id}


def answer_of(transfer: Transfer, *, replayed: bool) -> Answer:
    """The answer to who asked for the transfer."""
    body = data_json(representation.transaction(transfer))
    if replayed:
        return 200, body, {"Content-Type": JSON_TYPE, **REPLAYED}
    return 201, body, {"Content-Type": JSON_TYPE, "Location": f"{PATH}/{transfer.transfer_id}"}


def tag_of(shown: Mapping[str, Any]) -> str:
    """The entity tag of a transfer as it is shown: of its words, and of whether another one has resolved it."""
    return etag(shown.get("annotated_seq", shown["seq"]), int("resolved_by" in shown))
