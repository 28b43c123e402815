"""Watches the connections to named processes: one that gives no sign of life is closed, so its callers learn of it.

A killed process closes its connections at once; one that is stopped, blocked or behind a dead network does not. Its
supervisor kills it then (see supervision/supervisor.py); this is for whoever calls it and whose supervisor cannot act.
Anything that comes is a sign of life. Time in which this process itself did not run does not count.
"""

from __future__ import annotations

from typing import Final

import structlog

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.peers import Peers

#: How often a process shows that it lives.
HEARTBEAT_S: Final = 1.0
#: This many heartbeats missed are a death.
MISSED_HEARTBEATS: Final = 3

log = structlog.get_logger("bitnexus.runtime")


class Liveness:
    """Of the connections of `peers` that have a `silence_limit_s`."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._loop = peers.loop
        self._is_watching = False
        self._due = 0.0

    def watch(self) -> None:
        """Begin, if it has not begun: there is a connection to be watched."""
        if not self._is_watching:
            self._is_watching = True
            self._wait()

    def _wait(self) -> None:
        self._due = self._loop.time() + HEARTBEAT_S
        self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        late = max(0.0, now - self._due)
        watched = [each for each in self._peers.connections() if each.silence_limit_s is not None]
        for connection in watched:
            self._judge(connection, now, late)
        self._is_watching = bool(watched)
        if self._is_watching:
            self._wait()

    def _judge(self, connection: Connection, now: float, late: float) -> None:
        assert connection.silence_limit_s is not None
        if connection.heard or not connection.is_established:  # a handshake has its own time
            connection.heard = False
            connection.silent_since = now
            return
        connection.silent_since = min(now, connection.silent_since + late)
        silent_s = now - connection.silent_since
        if silent_s >= connection.silence_limit_s:
            log.error("peer_silent", peer=connection.peer_address, silent_s=round(silent_s, 3))
            connection.close(f"no sign of life for {silent_s:.1f} s")
        else:
            connection.ping()
