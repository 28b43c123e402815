"""What a process knows of the names of its node, and how it comes to know it. The part of `Node` that looks."""

from __future__ import annotations

from collections.abc import Callable

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.enrolment import Enrolment
from bitnexus.actors.runtime.message import ProcessInfo
from bitnexus.actors.runtime.names import NameTable, OnName


class KnownNames:
    """Base of Node, which makes what is declared here."""

    _names: NameTable
    _enrolment: Enrolment

    def link(self, address: str, instance: str) -> Connection:
        """See Node."""
        raise NotImplementedError

    def name_of(self, connection: Connection) -> str:
        """Who is at the other end, in words: a process by its name, a client by its user, else an address."""
        if connection.client is not None:
            return f"client {connection.client.user_id or 'without a token'}"
        known = self._names.at(connection.peer_address)
        return known[0].name if known else connection.peer_address or connection.remote

    async def join(self, registry_address: str, registry_instance: str, info: ProcessInfo | None = None) -> None:
        """Learn the node's names, and with `info` take one's own; raises CallTimeout or ProcessDown."""
        await self._enrolment.join(self.link(registry_address, registry_instance), info)

    async def resynchronise(self) -> None:
        """Compare the names with the registry's. Raises NoProcess without a registry, CallTimeout or ProcessDown."""
        await self._enrolment.resynchronise()

    def whereis(self, name: str) -> ProcessInfo | None:
        """The process that holds `name` now, or None."""
        return self._names.get(name)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return self._names.names()

    def monitor(self, name: str, on_up: OnName | None = None, on_down: OnName | None = None) -> Callable[[], None]:
        """Be told of every registration and every death of `name`; `on_up` at once when it is there.

        Returns a function that ends it. An exception that escapes a callback ends the process.
        """
        return self._names.monitor(name, on_up, on_down)
