"""Users: oneself; any of them for an admin, who also lists, creates and deletes them.

Nobody changes a role here. A user who is deleted is logged out, with accounts closed; the row stays, for the ledger
has accounts of that id, and the email is free again.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.errors import (
    AccountsNotEmpty,
    BadCursor,
    Conflict,
    InvalidFields,
    NotFound,
    Overloaded,
    PreconditionFailed,
    Unauthorized,
    Violation,
)
from bitnexus.http.api.closing import close_accounts
from bitnexus.http.api.opening import try_to_open_account
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.user_fields import Email, GivenPassword, Password, UserName, shown
from bitnexus.http.described import Described
from bitnexus.http.etags import etag, is_known, versions_to_match
from bitnexus.http.fast_path import Answer, Finish, Headers
from bitnexus.http.pages import PageQuery, Place, cursor_of, one_page, page, place_of
from bitnexus.http.routes import JSON_TYPE, ONE, Access, Call, Route, data, data_json, json_bytes
from bitnexus.http.shapes.base import One, Page
from bitnexus.http.shapes.users import NewUser as NewUserShape
from bitnexus.http.shapes.users import User as UserShape
from bitnexus.http.validation import Model
from bitnexus.principal import Principal
from bitnexus.storage import sessions, users
from bitnexus.storage.users import Role, User

PATH: Final = "/api/v1/users"
#: In the place of an id: the caller's own.
ME: Final = "me"
_EXAMPLE: Final = {"user": {"email": "ben@example.com", "name": "Ben", "password": "battery staple", "role": "user"}}


class NewUser(Model):
    """A user that an admin makes."""

    email: Email
    password: Password
    name: UserName = ""
    role: Role = "user"


class CreateUser(Model):
    """The body of POST /users."""

    user: NewUser


class UserChanges(Model):
    """What is to change; what is not given stays. Who changes the own password shows the present one."""

    email: Email | None = None
    name: UserName | None = None
    password: Password | None = None
    current_password: Annotated[GivenPassword | None, Field(description="of who changes the own password")] = None


class UpdateUser(Model):
    """The body of PUT and PATCH /users/:id."""

    user: UserChanges


class Users(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        admin, one, body = Access.ADMIN, PATH + ONE, UpdateUser
        listed = Described({200: Page[UserShape]}, errors=(BadCursor,))
        made = Described({201: One[NewUserShape]}, errors=(Conflict,), tagged=True, example=_EXAMPLE)
        oneself = Described({200: One[UserShape]}, if_none_match=True)
        shown = Described({200: One[UserShape]}, errors=(NotFound,), if_none_match=True)
        changed = Described(
            {200: One[UserShape]}, errors=(NotFound, Conflict), if_match=True, example={"user": {"name": "Ann B."}}
        )
        deleted = Described({204: None}, errors=(NotFound, Conflict, AccountsNotEmpty), if_match=True)
        return [
            Route("GET", PATH, self.index, "Users, newest first", access=admin, query=PageQuery, described=listed),
            Route("POST", PATH, self.create, "Make a user", access=admin, body=CreateUser, described=made),
            Route("GET", f"{PATH}/{ME}", self.me, "The caller", begin=self.begin_me, described=oneself),
            Route("PUT", f"{PATH}/{ME}", self.update_me, "Change oneself", body=body, described=changed),
            Route("PATCH", f"{PATH}/{ME}", self.update_me, "Change oneself", body=body, described=changed),
            Route("GET", one, self.show, "One user", described=shown),
            Route("PUT", one, self.update, "Change a user", body=body, described=changed),
            Route("PATCH", one, self.update, "Change a user", body=body, described=changed),
            Route(
                "DELETE", one, self.delete, "Delete a user whose accounts are empty", access=admin, described=deleted
            ),
        ]

    async def index(self, call: Call[None, PageQuery]) -> web.Response:
        """Users, newest first."""
        cursors, query, bound_to = self._services.cursors, call.query, "users"
        place = place_of(cursors, query.cursor, bound_to)
        before = int(place.position) if place else users.END
        async with self._services.database.connection() as connection:
            found = await users.page(connection, before=before, limit=query.limit + 1)
        these, next_place = one_page(found, query.limit, lambda last: Place(last.ordinal, -1))
        following = cursor_of(cursors, next_place, bound_to)
        return page(call.request, [shown(each) for each in these], following=following, as_of_seq=None)

    async def create(self, call: Call[CreateUser, None]) -> web.Response:
        """Make a user of any role, with an account in the default asset, as a registration does.

        Raises:
            Conflict: the email is taken.
        """
        services, wanted = self._services, call.body.user
        password_hash = await services.passwords.hash(wanted.password)
        async with services.database.connection() as connection:
            user = await users.insert(
                connection,
                user_id=str(uuid.uuid4()),
                email=wanted.email,
                name=wanted.name,
                password_hash=password_hash,
                role=wanted.role,
            )
        account_id = await try_to_open_account(services, user.id)
        headers = {"ETag": etag(user.version), "Location": f"{PATH}/{user.id}"}
        return data({**shown(user), "account_id": account_id}, status=201, headers=headers)

    async def me(self, call: Call[None, None]) -> web.Response:
        """The caller, as of the last half second; what was changed through the same connection is in it. 304: as known.

        Raises:
            Unauthorized: the token outlived its user.
        """
        callers, user_id = self._services.callers, call.principal.user_id
        answer = callers.answer(user_id)
        if answer is None:
            reading = callers.reading()
            user = await self._by_id(user_id)
            if user is None:
                raise Unauthorized
            answer = _whole(user)
            callers.keep(user_id, answer, reading)
        status, body, headers = answer
        if is_known(call.request.headers.get("If-None-Match"), headers["ETag"]):
            return web.Response(status=304, headers={"ETag": headers["ETag"]})
        return json_bytes(body, status=status, headers=headers)

    def begin_me(self, headers: Headers, principal: Principal, _: None, finish: Finish) -> None:
        """The same at once, for who asked a moment ago.

        Raises:
            Overloaded: who did not; it must be read. Or there is a condition, which takes the usual way.
        """
        answer = self._services.callers.answer(principal.user_id)
        if answer is None or "If-None-Match" in headers:
            raise Overloaded
        finish(answer)

    async def show(self, call: Call[None, None]) -> web.Response:
        """One user: the caller, or any for an admin; all others do not exist. 304 if the client has it as it is."""
        user = await self._visible(call.principal, call.request.match_info["id"])
        if is_known(call.request.headers.get("If-None-Match"), etag(user.version)):
            return web.Response(status=304, headers={"ETag": etag(user.version)})
        return _answer(user)

    async def update_me(self, call: Call[UpdateUser, None]) -> web.Response:
        """As :meth:`update`, of the caller."""
        return await self._update(call, call.principal.user_id)

    async def update(self, call: Call[UpdateUser, None]) -> web.Response:
        """Change what the body has; a new password ends all sessions of the user.

        Raises:
            NotFound, PreconditionRequired, PreconditionFailed: nothing was changed.
            InvalidFields: the present password is missing or wrong.
            Conflict: the email is taken.
        """
        return await self._update(call, call.request.match_info["id"])

    async def _update(self, call: Call[UpdateUser, None], wanted: str) -> web.Response:
        services, changes = self._services, call.body.user
        versions = versions_to_match(call.request.headers.get("If-Match"))
        user = await self._visible(call.principal, wanted)
        password_hash = None
        if changes.password is not None:
            if user.id == call.principal.user_id:
                await self._check_password(call.request, user, changes.current_password)
            password_hash = await services.passwords.hash(changes.password)
        try:
            async with services.database.connection() as connection, connection.transaction():
                changed = await users.update(
                    connection,
                    user.id,
                    versions=versions,
                    email=changes.email,
                    name=changes.name,
                    password_hash=password_hash,
                )
                if changed is None:
                    raise PreconditionFailed
                revoked = [] if password_hash is None else await sessions.revoke_all(connection, user.id)
        finally:
            services.callers.forget(user.id)
        services.revocations.revoke(revoked)
        return _answer(changed)

    async def delete(self, call: Call[None, None]) -> web.Response:
        """Close the user's accounts, end all sessions, and let nobody in as this user any more.

        Raises:
            NotFound, PreconditionRequired, PreconditionFailed, AccountsNotEmpty: nothing was done.
            Conflict: this is the last admin; or money came in meanwhile, and some accounts are closed.
        """
        services = self._services
        versions = versions_to_match(call.request.headers.get("If-Match"))
        user = await self._visible(call.principal, call.request.match_info["id"])
        if versions is not None and user.version not in versions:
            raise PreconditionFailed
        async with services.database.connection() as connection:
            await users.check_admin_remains(connection, user)
        await close_accounts(services, user.id)
        try:
            async with services.database.connection() as connection, connection.transaction():
                if not await users.delete(connection, user.id, versions=versions):
                    raise PreconditionFailed
                await sessions.revoke_all(connection, user.id)
        finally:
            services.callers.forget(user.id)
        await services.revocations.look()
        return web.Response(status=204)

    async def _check_password(self, request: web.Request, user: User, given: str | None) -> None:
        if given is None:
            raise InvalidFields(violations=(Violation("#/user/current_password", "Field required"),))
        attempt = self._services.limits.attempt(request, user.email)
        fits, _ = await self._services.passwords.verify(given, user.password_hash)
        if not fits:
            raise InvalidFields(violations=(Violation("#/user/current_password", "Is not your password"),))
        attempt.succeeded()

    async def _visible(self, principal: Principal, wanted: str) -> User:
        if not canonical_uuid(wanted) or not (principal.is_admin or wanted == principal.user_id):
            raise NotFound
        user = await self._by_id(wanted)
        if user is None:
            raise NotFound
        return user

    async def _by_id(self, user_id: str) -> User | None:
        async with self._services.database.connection() as connection:
            return await users.by_id(connection, user_id)


def _whole(user: User) -> Answer:
    return 200, data_json(shown(user)), {"Content-Type": JSON_TYPE, "ETag": etag(user.version)}


def _answer(user: User) -> web.Response:
    return data(shown(user), headers={"ETag": etag(user.version)})
