"""Who are you: registration and login."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field, StringConstraints

from bitnexus.errors import DatabaseUnavailable, InvalidCredentials
from bitnexus.http.api.opening import account_id_of, try_to_open_account
from bitnexus.http.api.users import shown
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.services import Services
from bitnexus.http.validation import Model, Text
from bitnexus.storage import ledger, users
from bitnexus.storage.users import User

PATH: Final = "/api/v1/auth"

#: One @, no spaces, a dot in the host: what is certainly no address is refused; only a letter to it proves the rest.
Email = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^@\s\x00-\x20\x7f]{1,64}@[^@\s\x00-\x20\x7f]+\.[^@\s.\x00-\x20\x7f]+$", max_length=254
    ),
]
Password = Annotated[Text, Field(min_length=8, max_length=256)]


class Registration(Model):
    """A new user."""

    email: Email
    password: Password
    name: Annotated[Text, Field(max_length=200)] = ""


class Register(Model):
    """The body of POST /auth/register."""

    user: Registration


class Credentials(Model):
    """What a user logs in with. Bounded only: what cannot be right gets the same answer as what is wrong."""

    email: Annotated[Text, Field(max_length=320)]
    password: Annotated[Text, Field(max_length=256)]


class Login(Model):
    """The body of POST /auth/login."""

    user: Credentials


class Auth:
    """The resource."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route("POST", PATH + "/register", self.register, "Become a user", access=Access.PUBLIC, body=Register),
            Route("POST", PATH + "/login", self.login, "Get an access token", access=Access.PUBLIC, body=Login),
        ]

    async def register(self, call: Call[Register, None]) -> web.Response:
        """Create the user and open an account in the default asset.

        Once the user exists the answer is 201, with `account_id` null if the account could not be opened in time: the
        next login or GET /accounts opens it. An error would make the client repeat what cannot be repeated.

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
            )
        account_id = await try_to_open_account(services, user.id)
        location = {"Location": f"/api/v1/users/{user.id}"}
        return data({**shown(user), "account_id": account_id}, status=201, headers=location)

    async def login(self, call: Call[Login, None]) -> web.Response:
        """An access token for an email and a password.

        Raises:
            InvalidCredentials: unknown user or wrong password: the same answer after the same work.
        """
        services, given = self._services, call.body.user
        async with services.database.connection() as connection:
            user = await users.by_email(connection, given.email)
        # The connection is given back meanwhile: hashing takes longer than any query.
        fits, outdated = await services.passwords.verify(given.password, user.password_hash if user else None)
        if user is None or not fits:
            raise InvalidCredentials
        if outdated:
            await self._renew_hash(user, given.password)
        await self._mend_account(user)
        return data(self._granted(user))

    def _granted(self, user: User) -> dict[str, Any]:
        tokens = self._services.tokens
        return {
            "access_token": tokens.issue(user.id, user.role),
            "token_type": "Bearer",
            "expires_in": tokens.ttl_s,
            "user": shown(user),
        }

    async def _renew_hash(self, user: User, password: str) -> None:
        password_hash = await self._services.passwords.hash(password)
        async with self._services.database.connection() as connection:
            await users.set_password_hash(connection, user.id, password_hash)

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
