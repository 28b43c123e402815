"""What is done to accounts: opening one, and an admin's freezing, unfreezing and closing."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field, JsonValue

from bitnexus.actors.ledger.accounts import (
    ALL_FLAGS,
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    MAX_CODE,
    canonical_uuid,
    world_account_id,
)
from bitnexus.actors.messages import AccountOpened, AccountStatus, ChangeAccount, CreateAccount, OpenAccount
from bitnexus.actors.messages.accounts import DERIVED, VERSION_AT
from bitnexus.errors import Conflict, Forbidden, InvalidFields, NotFound, TooManyAccounts, Violation
from bitnexus.http.answers import expect
from bitnexus.http.api.accounts import PATH, shown
from bitnexus.http.api.opening import open_house_account
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transactions import AssetText
from bitnexus.http.described import Described
from bitnexus.http.idempotency import idempotency_key, transfer_id
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.shapes.accounts import Account
from bitnexus.http.shapes.base import One
from bitnexus.http.validation import MAX_SAFE_INTEGER, Model, UuidText
from bitnexus.principal import Principal
from bitnexus.storage import ledger

#: That an id follows from something else, for the document.
_IS_DERIVED: Final[dict[str, JsonValue]] = {"type": "string", "pattern": f"^.{{{VERSION_AT}}}{DERIVED}"}


class AccountFields(Model):
    """An account to be opened; without an asset in the default one. What an admin alone may set is None by default.

    `flags`: 1, debits must not exceed credits (every user's account); 2, credits must not exceed debits; 0, no bound.
    `credit_limit`: by how much, in minor units, they may all the same.
    """

    asset: AssetText | None = None
    code: Annotated[int, Field(ge=0, le=MAX_CODE)] = 0
    id: Annotated[UuidText | None, Field(json_schema_extra={"not": _IS_DERIVED})] = None
    owner_id: UuidText | None = None
    flags: Annotated[int, Field(ge=0, le=ALL_FLAGS)] | None = None
    credit_limit: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)] | None = None


class CreateAccountBody(Model):
    """The body of POST /accounts."""

    account: AccountFields


class AccountCommands(Resource):
    """The commands of the resource."""

    def routes(self) -> list[Route]:
        """The routes of these commands."""
        return [
            Route(
                "POST",
                PATH,
                self.create,
                "Open an account",
                body=CreateAccountBody,
                described=Described(
                    {201: One[Account], 200: One[Account]},
                    errors=(Forbidden, Conflict, TooManyAccounts),
                    idempotent=True,
                    example={"account": {"asset": "EUR/2"}},
                ),
            ),
            *(
                Route(
                    "POST",
                    f"{PATH}/{{id}}/{action}",
                    partial(self.change, action),
                    summary,
                    access=Access.ADMIN,
                    described=Described({200: One[Account]}, errors=(NotFound, Conflict)),
                )
                for action, summary in (
                    ("freeze", "Let no transfer from or to the account through"),
                    ("unfreeze", "Let transfers through again"),
                    ("close", "Close an empty account, for good"),
                )
            ),
        ]

    async def create(self, call: Call[CreateAccountBody, None]) -> web.Response:
        """Open an account of the caller's; for an admin or a service, of any user's: 201, and 200 if it is open.

        An asset exists when it has a world account, by which it enters; the first account that an admin or a service
        opens in it brings that about.

        Raises:
            InvalidFields: there is no such asset, for a user.
            Conflict: the id is in use for another account.
            TooManyAccounts: the owner has as many as a user may have.
        """
        caller, fields = call.principal, call.body.account
        owner_id = fields.owner_id or caller.user_id
        if owner_id != caller.user_id and not caller.may_use_world:
            raise Forbidden("Only an admin or a service may open an account for somebody else")
        limited = fields.flags is None and fields.credit_limit is None
        if not limited and not caller.is_admin:
            raise Forbidden("Only an admin may set the flags and the credit limit of an account")
        id_ = _account_id(call.request.headers.get("Idempotency-Key"), fields.id, caller.user_id)
        asset = fields.asset or self._services.default_asset
        async with self._services.database.connection() as connection:
            known = await ledger.account_by_id(connection, id_) is not None
            has_world = await ledger.account_by_id(connection, world_account_id(asset)) is not None
        if not has_world:
            await self._begin_asset(asset, caller)
        command: OpenAccount | CreateAccount
        if limited:
            command = OpenAccount(id_, owner_id, asset, fields.code)
        else:
            flags = DEBITS_MUST_NOT_EXCEED_CREDITS if fields.flags is None else fields.flags
            command = CreateAccount(id_, owner_id, asset, fields.code, flags, fields.credit_limit or 0)
        target = self._services.partitions.of(owner_id)
        timeout_s = self._services.call_timeout_s
        expect(AccountOpened, await self._services.node.call(target, command, timeout_s=timeout_s, retry=True))
        headers = {"Idempotent-Replayed": "true"} if known else {"Location": f"{PATH}/{id_}"}
        return await self._answer(id_, 200 if known else 201, headers)

    async def _begin_asset(self, asset: str, caller: Principal) -> None:
        if not caller.may_use_world:
            raise InvalidFields(violations=(Violation("#/account/asset", "There is no such asset"),))
        await open_house_account(self._services, world_account_id(asset), asset)

    async def change(self, action: str, call: Call[None, None]) -> web.Response:
        """Freeze, unfreeze or close; 200 and the account as it is now, also if it was so before.

        Raises:
            NotFound: no such account.
            Conflict: it is closed, or is not empty.
        """
        wanted, caller = call.request.match_info["id"], call.principal
        if not canonical_uuid(wanted):
            raise NotFound
        command = ChangeAccount(caller.user_id, caller.role, wanted, action)
        target = self._services.partitions.of(caller.user_id)
        timeout_s = self._services.call_timeout_s
        expect(AccountStatus, await self._services.node.call(target, command, timeout_s=timeout_s, retry=True))
        return await self._answer(wanted, 200)

    async def _answer(self, id_: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
        async with self._services.database.connection() as connection:
            account = await ledger.account_by_id(connection, id_)
        if account is None:
            raise NotFound
        return data(shown(account), status=status, headers=headers)


def _account_id(key: str | None, given: str | None, user_id: str) -> str:
    """The account's id: from the Idempotency-Key, the one in the body, or a new one."""
    if given is not None and key is not None:
        raise InvalidFields(violations=(Violation("#/account/id", "cannot be given together with an Idempotency-Key"),))
    if given is not None:
        if given[VERSION_AT] == DERIVED:
            # Such ids follow from something: a client could take the place of what one will be needed for.
            raise InvalidFields(violations=(Violation("#/account/id", "must not be a UUID of version 5"),))
        return given
    return str(uuid.uuid4()) if key is None else transfer_id(user_id, idempotency_key(key))
