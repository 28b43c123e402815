"""Transactions: posting a transfer, which is what the service is for, and reading one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import ConfigDict, Field, JsonValue, StringConstraints

from bitnexus.actors import representation
from bitnexus.actors.ledger.accounts import MAX_AMOUNT, MAX_CODE, canonical_uuid
from bitnexus.actors.ledger.commands import MAX_TIMEOUT_S
from bitnexus.actors.messages import PostTransfer, TransferResult
from bitnexus.actors.runtime.message import Message
from bitnexus.errors import (
    BadCursor,
    BadRequest,
    BitNexusError,
    Forbidden,
    InvalidFields,
    NotFound,
    Refused,
    UnknownMessage,
    Violation,
)
from bitnexus.http.answers import expect
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transfer_commands import PATH, TransferCommands, answer_of, tag_of
from bitnexus.http.api.transfer_pages import asked_of, begins_at, shown_of
from bitnexus.http.api.transfer_requests import MAX_DESCRIPTION, REQUIRED, account_id, canonical, id_of
from bitnexus.http.described import LEDGER, Described
from bitnexus.http.etags import is_known
from bitnexus.http.fast_path import Answer, Finish, Headers
from bitnexus.http.fields import IDEMPOTENCY_KEY
from bitnexus.http.gathering import Gathering, finishing
from bitnexus.http.pages import PageQuery, page
from bitnexus.http.read import Read
from bitnexus.http.routes import JSON_TYPE, ONE, Call, Route, data_json, json_bytes
from bitnexus.http.services import Services
from bitnexus.http.shapes.base import One, PageAsOf
from bitnexus.http.shapes.transactions import Transaction
from bitnexus.http.validation import JsonObject, Model, UuidText
from bitnexus.principal import Principal
from bitnexus.storage import ledger_pages
from bitnexus.storage.ledger_transfer_now import TransferNow, transfers_now
from bitnexus.supervision.slots import slot_of

#: What a plain transfer needs; what makes it another one.
_NEEDED: Final = frozenset({"debit_account_id", "credit_account_id", "amount"})
#: Transfers that are read by one query.
_READ_TOGETHER: Final = 64
_OTHER: Final = frozenset({"kind", "pending_id", "reverses_id", "timeout_s"})

#: As the document says what `missing_fields` of transfer_requests does: what must be there, and what not together.
ENOUGH: Final[list[JsonValue]] = [
    {"required": ["debit_account_id", "credit_account_id", "amount"]},
    {
        "properties": {"kind": {"enum": ["post_pending", "void_pending"]}, "pending_id": {"type": "string"}},
        "required": ["kind", "pending_id"],
    },
    {
        "properties": {"kind": {"const": "reversal"}, "reverses_id": {"type": "string"}},
        "required": ["kind", "reverses_id"],
    },
]
TOO_MUCH: Final[dict[str, JsonValue]] = {
    "properties": {"pending_id": {"type": "string"}, "reverses_id": {"type": "string"}},
    "required": ["pending_id", "reverses_id"],
}
#: A transfer that could be asked for.
EXAMPLE: Final = {
    "transaction": {
        "debit_account_id": "0b7e8f5c-6d0e-4c0a-9d0c-6a3d0f9d1c11",
        "credit_account_id": "4c9f2f3e-5a55-4c7d-8f43-1f5d2a9b7e22",
        "amount": 2500,
        "description": "lunch",
    }
}

AccountRef = Annotated[
    str,
    StringConstraints(pattern=r"^(?:world|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$", to_lower=True),
]
AssetText = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9:._-]{0,59}/(?:[0-9]|1[0-8])$")]


class TransactionFields(Model):
    """A transfer of any kind; amounts are in minor units of the asset; `world` is the asset's world account.

    Accounts and amount are required, unless they follow from the transfer that is posted, voided or reversed.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": ENOUGH, "not": TOO_MUCH})

    debit_account_id: AccountRef = ""
    credit_account_id: AccountRef = ""
    amount: Annotated[int, Field(ge=1, le=MAX_AMOUNT)] = 0
    asset: AssetText | None = None
    code: Annotated[int, Field(ge=0, le=MAX_CODE)] = 0
    description: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=MAX_DESCRIPTION)] = ""
    metadata: JsonObject | None = None
    id: UuidText | None = None
    kind: Literal["post", "pending", "post_pending", "void_pending", "reversal"] = "post"
    pending_id: UuidText | None = None
    reverses_id: UuidText | None = None
    timeout_s: Annotated[int, Field(ge=0, le=MAX_TIMEOUT_S)] = 0


class CreateTransaction(Model):
    """The body of POST /transactions."""

    transaction: TransactionFields


class TransactionsQuery(PageQuery):
    """The list's page, and of which account; without one: of all the caller's."""

    account_id: UuidText | None = None


class Transactions(Resource):
    """The resource."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._commands = TransferCommands(services)
        self._partition_names = services.partitions.names
        self._transfers = Gathering(self._read_transfers, most=_READ_TOGETHER, timeout_s=services.call_timeout_s)

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route(
                "POST",
                PATH,
                self.create,
                "Post a transfer",
                body=CreateTransaction,
                timed=False,
                begin=self.begin,
                described=Described(
                    {201: One[Transaction], 200: One[Transaction]},
                    errors=(Forbidden, NotFound),
                    refusals=LEDGER,
                    idempotent=True,
                    example=EXAMPLE,
                ),
            ),
            *self._commands.routes(),
            Route(
                "GET",
                PATH,
                self.index,
                "The caller's transfers, newest first",
                query=TransactionsQuery,
                described=Described({200: PageAsOf[Transaction]}, errors=(BadCursor, NotFound)),
            ),
            Route(
                "GET",
                PATH + ONE,
                self.show,
                "One transfer",
                begin_read=self.begin_show,
                described=Described({200: One[Transaction]}, errors=(NotFound,), if_none_match=True),
            ),
        ]

    async def create(self, call: Call[CreateTransaction, None]) -> web.Response:
        """Post a transfer: 201 the first time, 200 and `Idempotent-Replayed` when the id was posted before.

        Raises:
            Refused: by the ledger, for good.
            BitNexusError: before any effect, or with an unknown one; repeating with the same id or key is safe.
        """
        status, body, headers = await self.post(call.request.headers, call.principal, call.body.transaction)
        return json_bytes(body, status=status, headers=headers)

    async def post(self, headers: Headers, principal: Principal, fields: TransactionFields) -> Answer:
        """As :meth:`create`, whatever the way on which it was asked for; an Idempotency-Key stands in `headers`."""
        services = self._services
        if not fields.model_fields_set.isdisjoint(_OTHER):
            return await self._commands.create(headers, principal, fields)
        message = self._message(headers, principal, fields)
        target = self._partition_names[slot_of(principal.user_id)]
        answer = await services.node.call(target, message, timeout_s=services.call_timeout_s, retry=True)
        return _answer(message, answer)

    def begin(self, headers: Headers, principal: Principal, body: CreateTransaction, finish: Finish) -> None:
        """As :meth:`create`, a plain transfer; any other is declined."""
        services, fields = self._services, body.transaction
        if not fields.model_fields_set.isdisjoint(_OTHER):
            raise BadRequest("This is no plain transfer")
        message = self._message(headers, principal, fields)

        def answered(result: Message | BitNexusError) -> None:
            finish(_outcome(message, result))

        target = self._partition_names[slot_of(principal.user_id)]
        services.node.request(target, message, answered, timeout_s=services.call_timeout_s, retry=True)

    def _message(self, headers: Headers, principal: Principal, fields: TransactionFields) -> PostTransfer:
        given = fields.model_fields_set
        if not given >= _NEEDED:
            missing = sorted(_NEEDED - given)
            raise InvalidFields(violations=tuple(Violation(f"#/transaction/{name}", REQUIRED) for name in missing))
        asset = fields.asset or self._services.default_asset
        return PostTransfer(
            user_id=principal.user_id,
            role=principal.role,
            transfer_id=id_of(headers.get(IDEMPOTENCY_KEY), fields.id, principal.user_id),
            debit_account_id=account_id(fields.debit_account_id, asset, principal),
            credit_account_id=account_id(fields.credit_account_id, asset, principal),
            amount=fields.amount,
            asset=asset,
            code=fields.code,
            description=fields.description,
            metadata=canonical(fields.metadata, "#/transaction") if fields.metadata else "",
        )

    async def index(self, call: Call[None, TransactionsQuery]) -> web.Response:
        """The caller's transfers in either direction, newest first; of one account with ``?account_id=``."""
        services, principal, query = self._services, call.principal, call.query
        bound_to = f"transactions:{principal.user_id}" + (f":{query.account_id}" if query.account_id else "")
        if query.account_id is not None:
            asked = asked_of(services, principal, query.account_id, query, bound_to)
            async with services.database.connection() as connection:
                page_of = (await ledger_pages.histories(connection, [asked])).get(asked)
            if page_of is None:
                raise NotFound
        else:
            as_of_seq, before_seq = begins_at(services, query, bound_to)
            async with services.database.connection() as connection:
                page_of = await ledger_pages.transfers_of(
                    connection,
                    principal.user_id,
                    as_of_seq=as_of_seq,
                    before_seq=before_seq,
                    limit=query.limit + 1,
                )
        found, following = shown_of(services, page_of, query, bound_to)
        items = [representation.as_it_is(*each) for each in found]
        return page(call.request, items, following=following, as_of_seq=page_of.as_of_seq)

    async def show(self, call: Call[None, None]) -> web.Response:
        """One transfer that touches an account of the caller, or that the caller posted; any for an admin.

        304 if the client has it as it is.
        """
        wanted = call.request.match_info["id"]
        if not canonical_uuid(wanted):
            raise NotFound
        status, body, headers = _shown(call.principal, await self._transfers.get(wanted))
        if is_known(call.request.headers.get("If-None-Match"), headers["ETag"]):
            return web.Response(status=304, headers={"ETag": headers["ETag"]})
        return json_bytes(body, status=status, headers=headers)

    def begin_show(self, read: Read[None], finish: Finish) -> None:
        """As :meth:`show`, without a condition."""
        self._transfers.ask(read.id, finishing(finish, partial(_shown, read.principal)))

    async def _read_transfers(self, ids: Sequence[str]) -> Mapping[str, TransferNow]:
        async with self._services.database.connection() as connection:
            return await transfers_now(connection, ids)


def _shown(principal: Principal, found: TransferNow | None) -> Answer:
    if found is None:
        raise NotFound
    if not (principal.is_admin or principal.user_id in (found.as_it_is[0].user_id, found.payer, found.payee)):
        raise NotFound
    shown = representation.as_it_is(*found.as_it_is)
    return 200, data_json(shown), {"Content-Type": JSON_TYPE, "ETag": tag_of(shown)}


def _answer(message: PostTransfer, answer: Message) -> Answer:
    """What the ledger's answer to the transfer is over HTTP.

    Raises:
        Refused: it was refused.
        UnknownMessage: it is no answer to this transfer.
    """
    result = expect(TransferResult, answer)
    if result.transfer_id != message.transfer_id:
        raise UnknownMessage("the answer is to another transfer")
    if result.refusal is not None:
        raise Refused(result.refusal, replayed=result.replayed)
    if result.transfer is None:
        raise UnknownMessage("neither a transfer nor a refusal")
    return answer_of(result.transfer, replayed=result.replayed)


def _outcome(message: PostTransfer, result: Message | BitNexusError) -> Answer | BitNexusError:
    if isinstance(result, BitNexusError):
        return result
    try:
        return _answer(message, result)
    except BitNexusError as error:
        return error
