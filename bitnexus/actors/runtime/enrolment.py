"""A process's relation to the registry: it asks for the table of names, and now and then whether its own is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bitnexus.actors.runtime.calls import OnReply
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.message import GetNames, Message, Names, ProcessInfo, Register
from bitnexus.actors.runtime.names import NameTable
from bitnexus.errors import BitNexusError, NoProcess, Overloaded

#: What a process knows of the names is compared with the registry this long after a connection was lost (the process
#: behind it may live), and this often while a call waits for a name (a lost announcement must not stall it).
_RESYNC_S = 0.25

#: Sends a question to the registry, which has no name before it is joined. Raises Overloaded.
AskRegistry = Callable[[Connection, Message, OnReply], None]

log = structlog.get_logger("bitnexus.runtime")


class Enrolment:
    """Of one process; keeps `names` true."""

    def __init__(self, names: NameTable, ask: AskRegistry, loop: asyncio.AbstractEventLoop) -> None:
        self._names = names
        self._ask = ask
        self._loop = loop
        self._registry: Connection | None = None
        self._due: asyncio.TimerHandle | None = None

    async def join(self, registry: Connection, info: ProcessInfo | None) -> None:
        """Learn the names, and with `info` take one's own; raises CallTimeout or ProcessDown."""
        self._registry = registry
        await self._ask_for_table(registry, Register(info))

    async def resynchronise(self) -> None:
        """Compare the names with the registry's. Raises NoProcess without a registry, CallTimeout or ProcessDown."""
        if self._registry is None:
            raise NoProcess("there is no connection to the registry")
        await self._ask_for_table(self._registry, GetNames())

    async def _ask_for_table(self, registry: Connection, question: Message) -> None:
        answer: asyncio.Future[Message | BitNexusError] = self._loop.create_future()

        def on_reply(result: Message | BitNexusError) -> None:
            # At once: what changed after this table was written comes right behind it.
            self._table_received(result)
            if not answer.done():
                answer.set_result(result)

        self._ask(registry, question, on_reply)
        result = await answer
        if isinstance(result, BitNexusError):
            raise result

    def resynchronise_soon(self) -> None:
        """Compare them in a moment; nobody waits for that."""
        if self._due is None:
            self._due = self._loop.call_later(_RESYNC_S, self._compare)

    def _compare(self) -> None:
        self._due = None
        if self._registry is None:
            return
        try:
            self._ask(self._registry, GetNames(), self._table_received)
        except Overloaded as error:
            log.warning("names_not_asked", error=error.detail)

    def _table_received(self, result: Message | BitNexusError) -> None:
        if isinstance(result, Names):
            self._names.synchronise(result.processes)
        else:
            log.warning("names_not_answered", answer=str(result))

    def ended_with(self, connection: Connection) -> bool:
        """Whether this connection, which has ended, was the one to the registry."""
        if connection is not self._registry:
            return False
        self._registry = None
        return True
