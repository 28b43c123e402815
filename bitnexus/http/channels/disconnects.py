"""Closing all channel connections of one user, wherever they are: after a logout, or when the user is deleted."""

from __future__ import annotations

import asyncio
from typing import Final

from bitnexus.actors.runtime.node import Node
from bitnexus.errors import NoProcess, ProcessDown
from bitnexus.http.answers import expect
from bitnexus.http.channels.connected import Connected
from bitnexus.http.channels.messages import CloseConnections, Disconnected

#: The names of fronts: this and a number.
FRONT_PREFIX: Final = "http-"
TIMEOUT_S: Final = 5.0


class Disconnects:
    """`connected` are the connections of this front, whose name is `front`."""

    def __init__(self, node: Node, front: str, connected: Connected) -> None:
        self._node = node
        self._front = front
        self._connected = connected

    async def user(self, user_id: str, *, timeout_s: float = TIMEOUT_S) -> int:
        """Close the user's connections at every front, sockets with 1001; how many there were.

        The clients come back, and then their token decides: it must have been revoked before.

        Raises:
            CallTimeout, Overloaded: of a front it is not known whether it has done so. Repeating is harmless.
        """
        others = [name for name in self._node.names() if name.startswith(FRONT_PREFIX) and name != self._front]
        counts = await asyncio.gather(
            self._connected.disconnect(user_id), *(self._at(name, user_id, timeout_s) for name in others)
        )
        return sum(counts)

    async def _at(self, front: str, user_id: str, timeout_s: float) -> int:
        try:
            answer = await self._node.call(front, CloseConnections(user_id), timeout_s=timeout_s)
        except (NoProcess, ProcessDown):
            return 0  # its connections have ended with it
        return expect(Disconnected, answer).count
