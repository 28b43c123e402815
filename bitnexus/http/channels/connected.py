"""The clients of one front, over either transport: to close one user's, or all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import WSCloseCode

from bitnexus.principal import Principal

#: A forced disconnect; as in Phoenix, whose clients take it for a reason to come back, and then their token decides.
GOING_AWAY: Final = WSCloseCode.GOING_AWAY
RESTART: Final = WSCloseCode.SERVICE_RESTART
#: A logout: the token is no good any more.
POLICY_VIOLATION: Final = WSCloseCode.POLICY_VIOLATION


class Connection(Protocol):
    """A connected client as its transport has it."""

    @property
    def principal(self) -> Principal:
        """Whose it is, and of which session."""

    async def close(self, code: int, reason: str) -> None:
        """Close with this code (see RFC 6455, section 7.4), within about a second."""


class Connected:
    """The open connections, by user."""

    def __init__(self) -> None:
        self._by_user: dict[str, dict[Connection, None]] = {}  # in the order they came
        self._count = 0

    def __len__(self) -> int:
        """How many are open."""
        return self._count

    def add(self, connection: Connection) -> None:
        """One has opened."""
        self._by_user.setdefault(connection.principal.user_id, {})[connection] = None
        self._count += 1

    def remove(self, connection: Connection) -> None:
        """It has closed; it must have been added."""
        of_user = self._by_user[connection.principal.user_id]
        del of_user[connection]
        self._count -= 1
        if not of_user:
            del self._by_user[connection.principal.user_id]

    def of(self, user_id: str) -> list[Connection]:
        """The user's, the oldest first."""
        return list(self._by_user.get(user_id, ()))

    async def disconnect(self, user_id: str) -> int:
        """Close the user's with 1001; how many they were."""
        return await _close(self.of(user_id), GOING_AWAY, "disconnected")

    async def log_out(self, ended: frozenset[str]) -> int:
        """Close those of these sessions and users with 1008; how many they were."""
        theirs = [
            each for each in self._all() if not ended.isdisjoint((each.principal.session_id, each.principal.user_id))
        ]
        return await _close(theirs, POLICY_VIOLATION, "logged out")

    async def drain(self) -> int:
        """Close all with 1012: the clients come back at another front."""
        return await _close(self._all(), RESTART, "restart")

    def _all(self) -> list[Connection]:
        return [connection for of_user in self._by_user.values() for connection in of_user]


async def _close(connections: Iterable[Connection], code: int, reason: str) -> int:
    return len(await asyncio.gather(*(connection.close(code, reason) for connection in connections)))
