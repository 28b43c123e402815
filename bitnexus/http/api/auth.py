"""Who are you: registration, and the sessions that a login begins and a logout ends."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated, Any, Final

import structlog
from aiohttp import web
from pydantic import Field

from bitnexus.errors import Conflict, DatabaseUnavailable, InvalidCredentials, InvalidRefreshToken, Unauthorized
from bitnexus.http.api.opening import account_id_of, try_to_open_account
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.user_fields import Email, GivenPassword, Password, UserName, shown
from bitnexus.http.described import Described
from bitnexus.http.refresh_tokens import RANDOM_BYTES, hash_of
from bitnexus.http.routes import Access, Call, Route, authenticate, data
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.users import NewUser as NewUserShape
from bitnexus.http.shapes.users import Session
from bitnexus.http.validation import Model, Text
from bitnexus.storage import ledger, sessions, users
from bitnexus.storage.users import User

PATH: Final = "/api/v1/auth"

log = structlog.get_logger(__name__)


class Registration(Model):
    """A new user."""

    email: Email
    password: Password
    name: UserName = ""


class Register(Model):
    """The body of POST /auth/register."""

    user: Registration


class Credentials(Model):
    """What a user logs in with. Bounded only: what cannot be right gets the same answer as what is wrong."""

    email: Annotated[Text, Field(max_length=320)]
    password: GivenPassword


class Login(Model):
    """The body of POST /auth/login."""

    user: Credentials


class RefreshFields(Model):
    """The refresh token that the last answer had."""

    refresh_token: Annotated[str, Field(max_length=2048)]


class Refresh(Model):
    """The body of POST /auth/refresh, and of POST /auth/logout if it has one."""

    session: RefreshFields


class Auth(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route(
                "POST",
                PATH + "/register",
                self.register,
                "Become a user",
                access=Access.PUBLIC,
                body=Register,
                described=Described(
                    {201: One[NewUserShape]},
                    errors=(Conflict,),
                    example={"user": {"email": "ann@example.com", "name": "Ann", "password": "correct horse"}},
                ),
            ),
            Route(
                "POST",
                PATH + "/login",
                self.login,
                "Begin a session",
                access=Access.PUBLIC,
                body=Login,
                described=Described(
                    {200: One[Session]},
                    errors=(InvalidCredentials,),
                    example={"user": {"email": "ann@example.com", "password": "correct horse"}},
                ),
            ),
            Route(
                "POST",
                PATH + "/refresh",
                self.refresh,
                "Get fresh tokens",
                access=Access.PUBLIC,
                body=Refresh,
                described=Described({200: One[Session]}, errors=(InvalidRefreshToken,)),
            ),
            Route(
                "POST",
                PATH + "/logout",
                self.logout,
                "End the session",
                access=Access.PUBLIC,
                body=Refresh,
                bodiless=True,
                described=Described(
                    {204: None}, errors=(Unauthorized, InvalidRefreshToken, Conflict), either_token=True
                ),
            ),
        ]

    async def register(self, call: Call[Register, None]) -> web.Response:
        """Create the user and open an account in the default asset.

        Once the user exists the answer is 201, with `account_id` null if the account could not be opened in time: the
        next login or GET /accounts opens it. An error would make the client repeat what cannot be repeated.

        Raises:
            Conflict: the email is taken.
            TooManyRequests: from this address, or for this email.
        """
        services, wanted = self._services, call.body.user
        services.limits.registration(call.request, wanted.email)
        password_hash = await services.passwords.hash(wanted.password)
        async with services.database.connection() as connection:
            user = await users.insert(
                connection,
                user_id=str(uuid.uuid4()),
                email=wanted.email,
                name=wanted.name,
                password_hash=password_hash,
            )
        account_id = await try_to_open_account(services, user.id)
        location = {"Location": f"/api/v1/users/{user.id}"}
        return data({**shown(user), "account_id": account_id}, status=201, headers=location)

    async def login(self, call: Call[Login, None]) -> web.Response:
        """An access token and a refresh token for an email and a password.

        Raises:
            InvalidCredentials: unknown user or wrong password: the same answer after the same work.
            TooManyRequests: too many have failed, whether there is such a user or not.
        """
        services, given = self._services, call.body.user
        attempt = services.limits.attempt(call.request, given.email)
        async with services.database.connection() as connection:
            user = await users.by_email(connection, given.email)
        # The connection is given back meanwhile: hashing takes longer than any query.
        fits, outdated = await services.passwords.verify(given.password, user.password_hash if user else None)
        if user is None or not fits:
            raise InvalidCredentials
        attempt.succeeded()
        password_hash = await self._renewed_hash(user, given.password) if outdated else user.password_hash
        await self._mend_account(user)
        return await self._begin(user, password_hash)

    async def refresh(self, call: Call[Refresh, None]) -> web.Response:
        """The next access token and refresh token of a session; the refresh token that was shown is used up.

        Raises:
            InvalidRefreshToken: it ended, or was used before. The latter ends the session: two have a copy of it, and
                nobody can tell which of them is the user.
        """
        services, shown_token = self._services, call.body.session.refresh_token
        session_id = services.refresh_tokens.session_of(shown_token)
        next_token = services.refresh_tokens.make(session_id, secrets.token_bytes(RANDOM_BYTES))
        async with services.database.connection() as connection:
            user_id = await sessions.rotate(
                connection,
                session_id,
                shown_hash=hash_of(shown_token),
                next_hash=hash_of(next_token),
                refresh_ttl_s=services.refresh_tokens.ttl_s,
                access_ttl_s=services.tokens.ttl_s,
            )
            user = None if user_id is None else await users.by_id(connection, user_id)
            revoked = [] if user else await sessions.revoke(connection, session_id)
        if user is None:
            services.revocations.revoke(revoked)
            if revoked:
                log.warning("refresh_token_used_again", session_id=session_id)
            raise InvalidRefreshToken
        return data(self._granted(user, session_id, next_token))

    async def logout(self, call: Call[Refresh | None, None]) -> web.Response:
        """End the session of the refresh token in the body, or else that of the access token; 204 also if it had ended.

        Raises:
            Unauthorized: neither was given, or the access token is not valid.
            Conflict: the access token is of no session (`bitnexus user token`): it ends when its time is over.
        """
        services = self._services
        if call.body is not None:
            session_id = services.refresh_tokens.session_of(call.body.session.refresh_token)
        else:
            session_id = authenticate(services.tokens, call.request.headers).session_id
        if not session_id:
            raise Conflict("This access token is of no session that could be ended")
        async with services.database.connection() as connection:
            services.revocations.revoke(await sessions.revoke(connection, session_id))
        return web.Response(status=204)

    async def _begin(self, user: User, password_hash: str) -> web.Response:
        services, session_id = self._services, str(uuid.uuid4())
        refresh_token = services.refresh_tokens.make(session_id, secrets.token_bytes(RANDOM_BYTES))
        async with services.database.connection() as connection, connection.transaction():
            revoked = await sessions.insert(
                connection,
                session_id=session_id,
                user_id=user.id,
                password_hash=password_hash,
                refresh_hash=hash_of(refresh_token),
                refresh_ttl_s=services.refresh_tokens.ttl_s,
                access_ttl_s=services.tokens.ttl_s,
            )
        if revoked is None:
            raise InvalidCredentials
        services.revocations.revoke(revoked)
        return data(self._granted(user, session_id, refresh_token))

    def _granted(self, user: User, session_id: str, refresh_token: str) -> dict[str, Any]:
        services = self._services
        return {
            "access_token": services.tokens.issue(user.id, user.role, session_id=session_id),
            "token_type": "Bearer",
            "expires_in": services.tokens.ttl_s,
            "refresh_token": refresh_token,
            "refresh_expires_in": services.refresh_tokens.ttl_s,
            "user": shown(user),
        }

    async def _renewed_hash(self, user: User, password: str) -> str:
        """The hash of the same password by today's parameters, or the one that somebody else has put there meanwhile.

        Raises:
            InvalidCredentials: it is another password's.
        """
        services = self._services
        new_hash = await services.passwords.hash(password)
        async with services.database.connection() as connection:
            if await users.renew_hash(connection, user.id, old_hash=user.password_hash, new_hash=new_hash):
                return new_hash
            now = await users.by_id(connection, user.id)
        fits, _ = await services.passwords.verify(password, now.password_hash if now else None)
        if now is None or not fits:
            raise InvalidCredentials
        return now.password_hash

    async def _mend_account(self, user: User) -> None:
        """Open the account that an interrupted registration left unopened; a login does not fail for it."""
        services = self._services
        try:
            async with services.database.connection() as connection:
                account = await ledger.account_by_id(connection, account_id_of(user.id, services.default_asset))
        except DatabaseUnavailable:
            return  # GET /accounts will see to it
        if account is None:
            await try_to_open_account(services, user.id)
