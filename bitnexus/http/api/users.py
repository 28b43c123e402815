"""Users: oneself; any for an admin."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.errors import NotFound, Unauthorized
from bitnexus.http.api.user_fields import shown
from bitnexus.http.routes import Call, Route, data
from bitnexus.http.services import Services
from bitnexus.storage import users
from bitnexus.storage.users import User

PATH: Final = "/api/v1/users"


class Users:
    """The resource."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route("GET", PATH + "/me", self.me, "The caller"),
            Route("GET", PATH + "/{id}", self.show, "One user"),
        ]

    async def me(self, call: Call[None, None]) -> web.Response:
        """The caller.

        Raises:
            Unauthorized: the token outlived its user.
        """
        user = await self._by_id(call.principal.user_id)
        if user is None:
            raise Unauthorized
        return data(shown(user))

    async def show(self, call: Call[None, None]) -> web.Response:
        """One user: the caller, or any for an admin; all others do not exist."""
        wanted, principal = call.request.match_info["id"], call.principal
        if not canonical_uuid(wanted) or not (principal.is_admin or wanted == principal.user_id):
            raise NotFound
        user = await self._by_id(wanted)
        if user is None:
            raise NotFound
        return data(shown(user))

    async def _by_id(self, user_id: str) -> User | None:
        async with self._services.database.connection() as connection:
            return await users.by_id(connection, user_id)
