"""The supervisor at the top of a node: it keeps the names, and is linked to whoever launched the node."""

from __future__ import annotations

import os
import signal

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import GetNames, Names, NamesChanged, Register
from bitnexus.actors.runtime.process import StartProcess, handles
from bitnexus.actors.runtime.reasons import SHUTDOWN, ExitReason
from bitnexus.actors.runtime.registry import Registry
from bitnexus.config import get_settings
from bitnexus.errors import Overloaded
from bitnexus.supervision.supervisor import Supervisor


class RootSupervisor(Supervisor):
    """Every process asks it for its name; all hear from it who came and who went."""

    def _boot(self, start: StartProcess) -> None:
        self._registry = Registry()
        super()._boot(start)

    async def init(self) -> None:
        """Listen where clients come in, register itself, then as any supervisor."""
        settings = get_settings()
        if settings.node_port:
            await self.transport.peers.listen(settings.node_host, settings.node_port)
        self._registry.register(self, self.info())
        await super().init()

    @handles(Register, clients=True)
    def _register(self, message: Register, context: Context) -> Names:
        change = self._registry.register(context.connection, message.info)
        if change is not None:
            self._announce(change)
        return self._registry.names()

    @handles(GetNames, clients=True)
    def _names(self, message: GetNames, context: Context) -> Names:  # noqa: ARG002
        return self._registry.names()

    def sender_of(self, connection: Connection) -> str:
        """By the registry: the root itself has not joined it."""
        return self._registry.name_of(connection) or super().sender_of(connection)

    def _announce(self, change: NamesChanged) -> None:
        for member in self._registry.members():
            if not isinstance(member, Connection):
                continue  # the root itself
            try:
                self.node.cast_over(member, change)
            except Overloaded as error:
                # It has not read for long. What it knows is wrong from here on: without the connection it ends.
                member.close(f"it cannot be told of names: {error.detail}")

    def _connection_lost(self, connection: Connection) -> None:
        change = self._registry.lost(connection)
        if change is not None:
            self._announce(change)
        super()._connection_lost(connection)

    def link_lost(self) -> None:
        """The launcher is gone: stop the tree in order, then the admin, whose only purpose was this tree."""
        self.log.error("launcher_lost")
        self.stop(SHUTDOWN)

    async def _exit(self, reason: ExitReason, code: int) -> None:
        if self._link.is_closed:
            os.kill(os.getppid(), signal.SIGKILL)  # the admin; this process and the logger die with it
        await super()._exit(reason, code)
