"""Closing all channel connections of one user, wherever they are: after a logout, or when the user is deleted."""

from __future__ import annotations

import asyncio
from typing import Final

from bitnexus.actors.runtime.node import Node
from bitnexus.errors import NoProcess, ProcessDown
from bitnexus.http.answers import expect
from bitnexus.http.channels.messages import Disconnected, DisconnectUser

#: The names of fronts: this and a number.
FRONT_PREFIX: Final = "http-"
TIMEOUT_S: Final = 5.0


async def disconnect_user(node: Node, user_id: str, *, timeout_s: float = TIMEOUT_S) -> int:
    """Have every front close the user's connections with 1001; how many there were.

    The clients come back, and then their token decides: it must have been revoked before.

    Raises:
        CallTimeout, Overloaded: of a front it is not known whether it has done so. Repeating is harmless.
    """
    fronts = [name for name in node.names() if name.startswith(FRONT_PREFIX)]
    return sum(await asyncio.gather(*(_disconnect_at(node, name, user_id, timeout_s) for name in fronts)))


async def _disconnect_at(node: Node, front: str, user_id: str, timeout_s: float) -> int:
    try:
        answer = await node.call(front, DisconnectUser(user_id), timeout_s=timeout_s)
    except (NoProcess, ProcessDown):
        return 0  # its connections have ended with it
    return expect(Disconnected, answer).count
