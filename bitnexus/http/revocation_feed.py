"""What other fronts have revoked, read from PostgreSQL every second: no request waits for it.

A revocation becomes visible when its transaction commits, which may be after a later one's: every look goes back a
minute beyond the newest that is known. While the database is away nothing is revoked either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from bitnexus.errors import DatabaseUnavailable
from bitnexus.revocations import MOST, Revoked
from bitnexus.storage import sessions
from bitnexus.storage.database import Database
from bitnexus.tokens import AccessTokens

PERIOD_S: Final = 1.0
PATIENCE_S: Final = 2.0
#: Longer than any transaction lives (see Database: the longest statement, idle in a transaction).
_OVERLAP_S: Final = 60.0

log = structlog.get_logger(__name__)


class RevocationFeed:
    """Keeps `tokens` up to date; `ended` is called with the ids of the sessions and users that are new among them."""

    def __init__(self, database: Database, tokens: AccessTokens, ended: Callable[[frozenset[str]], None]) -> None:
        self._database = database
        self._tokens = tokens
        self._ended = ended
        self._newest = 0.0
        self._behind = False

    def revoke(self, revoked: Iterable[Revoked]) -> None:
        """Refuse what this front has revoked itself, at once."""
        new = self._tokens.revoke(revoked)
        if new:
            self._ended(new)

    async def look(self) -> bool:
        """Take in what was revoked since the last look; False if the database is away."""
        try:
            async with self._database.connection(PATIENCE_S) as connection:
                found = await sessions.revoked_since(connection, self._newest - _OVERLAP_S, limit=MOST + 1)
        except DatabaseUnavailable:
            if not self._behind:
                log.warning("revocations_not_read")
            self._behind = True
            return False
        self._behind = False
        if found:
            self._newest = max(self._newest, found[0].revoked_at)
            self.revoke(found)
        return True

    async def follow(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look()
