"""PostgreSQL stopped, crashed, paused, without connections, without a disk; until it serves again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import psutil

from tests.chaos.excuses import Loss
from tests.chaos.journal import BACK_WITHIN_S, POLL_S, Journal
from tests.chaos.process_faults import send
from tests.chaos.schedule import Step
from tests.chaos.server import paused, postgresql_of
from tests.chaos.target import Target

#: The ledger tries again within a second; a front's pool and its health are as old as that at most.
GRACE_S: Final = 3.0
_MOST_CONNECTIONS: Final = 2_000


class DatabaseFaults:
    """Of the server that `target` uses, one after another; `lock` is held meanwhile."""

    def __init__(self, target: Target, journal: Journal, lock: asyncio.Lock) -> None:
        self._target, self._journal, self.lock = target, journal, lock

    async def restart(self, step: Step) -> bool:
        """Stop it, in order or as a crash would, and start it again."""
        server = self._target.server
        assert server is not None
        async with self._away(step.kind):
            await asyncio.to_thread(server.stop, immediate=step.verb == "crash")
            await asyncio.sleep(step.seconds)
            await asyncio.to_thread(server.start)
        return True

    async def pause(self, step: Step) -> bool:
        """All its processes stop, and go on."""
        processes = self._postgresql()
        if not processes:
            return False
        async with self._away(step.kind):
            with paused(processes):
                await asyncio.sleep(step.seconds)
        return True

    def _postgresql(self) -> list[psutil.Process]:
        if self._target.server is not None:
            return self._target.server.processes()
        return postgresql_of(self._target.database_url)

    async def exhaust(self, step: Step) -> bool:
        """Nobody gets a new connection; now and then somebody needs one: the next ledger."""
        taken: list[asyncpg.Connection[Any]] = []
        async with self._away(step.kind):
            try:
                with contextlib.suppress(asyncpg.TooManyConnectionsError):
                    while len(taken) < _MOST_CONNECTIONS:
                        taken.append(await asyncpg.connect(self._target.database_url, timeout=BACK_WITHIN_S))
                assert len(taken) < _MOST_CONNECTIONS, "there is no end of connections"
                if step.number % 2 and (found := self._target.named("ledger", 0)) is not None:
                    send(found[1], signal.SIGKILL)
                await asyncio.sleep(step.seconds)
            finally:
                for connection in taken:
                    connection.terminate()
        return True

    async def fill(self, step: Step) -> bool:
        """Its disk is full."""
        server = self._target.server
        assert server is not None
        async with self._away(step.kind):
            await asyncio.to_thread(server.fill, step.seconds)
        return True

    @asynccontextmanager
    async def _away(self, fault: str) -> AsyncIterator[None]:
        """An outage of the database, until sessions can be opened again, and a while."""
        async with self.lock, self._journal.outage(fault, Loss.DATABASE):
            yield
            deadline = time.monotonic() + BACK_WITHIN_S
            while not await self._has_sessions():
                assert time.monotonic() < deadline, f"PostgreSQL takes no sessions after {BACK_WITHIN_S} s"
                await asyncio.sleep(POLL_S)
            await asyncio.sleep(GRACE_S)

    async def _has_sessions(self) -> bool:
        try:
            connection = await asyncpg.connect(self._target.database_url, timeout=2.0)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        connection.terminate()
        return True
