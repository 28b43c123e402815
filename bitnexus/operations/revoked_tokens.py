"""Tells every process of the node which access tokens were revoked: clients of the node show theirs to any of them.

Looked up in PostgreSQL every second, and told to all. Who was not told yet, because it or this process is new, hears
of all that is still of account. So a token is refused everywhere within two seconds. While the database is away nothing
is revoked either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.revoked_tokens import TokensRevoked
from bitnexus.errors import DatabaseUnavailable
from bitnexus.revocations import MOST, Revoked
from bitnexus.storage import sessions
from bitnexus.storage.database import Database, migrated
from bitnexus.storage.schema_status import SchemaError

PERIOD_S: Final = 1.0
#: A revocation becomes visible when its transaction commits, which may be after a later one's; none takes longer.
_OVERLAP_S: Final = 60.0
#: Revocations of one message: some 60 KB.
_OF_A_MESSAGE: Final = 1_000

log = structlog.get_logger(__name__)


class RevokedTokens:
    """What is revoked, and which process knows of it. `refuse` is this process's own way to hear of it.

    `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        node: Node,
        own_name: str,
        database: Database,
        refuse: Callable[[TokensRevoked], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._own_name = own_name
        self._database = database
        self._refuse = refuse
        self._clock = clock
        self._known: dict[str, Revoked] = {}
        self._newest = 0.0
        self._told: dict[str, str] = {}  # name → the instance that knows all of `_known`
        self._is_behind = False

    async def run(self) -> None:
        """Look and tell, again and again."""
        while True:
            new = await self._look()
            self._tell(new)
            await asyncio.sleep(PERIOD_S)

    async def _look(self) -> list[Revoked]:
        """What is new; `_known` has it."""
        try:
            async with self._database.connection() as connection:
                with migrated():
                    found = await sessions.revoked_since(connection, self._newest - _OVERLAP_S, limit=MOST + 1)
        except (DatabaseUnavailable, SchemaError) as error:
            if not self._is_behind:
                log.warning("revocations_not_read", error=str(error))
            self._is_behind = True
            return []
        self._is_behind = False
        if found:
            self._newest = max(self._newest, found[0].revoked_at)
        now = self._clock()
        self._known = {id_: each for id_, each in self._known.items() if each.until > now}
        new = [each for each in found if each.id not in self._known]
        self._known |= {each.id: each for each in new}
        if len(self._known) > MOST + 1:  # one too many says that there are too many: see Revocations
            newest = sorted(self._known.values(), key=lambda each: each.revoked_at)[-MOST - 1 :]
            self._known = {each.id: each for each in newest}
        return new

    def _tell(self, new: list[Revoked]) -> None:
        told = self._told
        for name in told.keys() - set(self._node.names()):
            del told[name]
        for name in self._node.names():
            info = self._node.whereis(name)
            assert info is not None, name
            news = new if told.get(name) == info.instance else list(self._known.values())
            told[name] = info.instance
            if not all(self._say(name, message) for message in _messages(news)):
                del told[name]  # it has too much to read: all of it again, next time

    def _say(self, name: str, message: TokensRevoked) -> bool:
        if name == self._own_name:
            self._refuse(message)
            return True
        return self._node.cast(name, message)


def _messages(revoked: list[Revoked]) -> list[TokensRevoked]:
    return [TokensRevoked.of(revoked[begin : begin + _OF_A_MESSAGE]) for begin in range(0, len(revoked), _OF_A_MESSAGE)]
