"""Is the service well? Asked often by load balancers, so the answer is kept for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from bitnexus.actors.runtime.node import Node
from bitnexus.storage.database import Database

PROBE_TIMEOUT_S: Final = 1.0
FRESH_S: Final = 1.0
LEDGER: Final = "ledger"


@dataclass(frozen=True, slots=True)
class State:
    """What was found: can the database be reached, is the ledger registered."""

    database: bool
    ledger: bool

    @property
    def healthy(self) -> bool:
        """Transfers can be made."""
        return self.database and self.ledger


class Health:
    """Probes the database at most once a second, however many ask."""

    def __init__(self, node: Node, database: Database, *, clock: Callable[[], float] = monotonic) -> None:
        self._node = node
        self._database = database
        self._clock = clock
        self._probe: asyncio.Task[bool] | None = None
        self._stale_at = 0.0

    def known(self) -> State | None:
        """The state, if it needs not be asked for: somebody has asked within the last second."""
        if self._probe is None or not self._probe.done() or self._clock() >= self._stale_at:
            return None
        return State(database=self._probe.result(), ledger=self._node.whereis(LEDGER) is not None)

    async def state(self) -> State:
        """The state of the last second; takes at most about a second."""
        if self._probe is None or (self._probe.done() and self._clock() >= self._stale_at):
            self._probe = asyncio.create_task(self._ask())
        # Shielded: one client that goes away must not end the probe that others wait for.
        connected = await asyncio.shield(self._probe)
        return State(database=connected, ledger=self._node.whereis(LEDGER) is not None)

    async def _ask(self) -> bool:
        connected = await self._database.healthy(PROBE_TIMEOUT_S)
        self._stale_at = self._clock() + FRESH_S
        return connected
