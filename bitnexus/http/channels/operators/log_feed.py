"""`admin:log`: the log lines of the node's processes, as they write them, while somebody reads.

Processes are asked anew every two seconds and send for five: who dies, or reads no more, is forgotten by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bitnexus.actors.runtime.log_tail import FollowLog, LogLines, LogTail
from bitnexus.actors.runtime.node import Node
from bitnexus.http.channels.hub import Spawn
from bitnexus.http.channels.operators.running_feed import RunningFeed

RENEW_S: Final = 2.0
LEASE_S: Final = 5.0


class LogFeed(RunningFeed):
    """`tail` is that of this process, whose name is `front`; `publish` takes an event and its payload."""

    def __init__(
        self, node: Node, front: str, tail: LogTail, spawn: Spawn, publish: Callable[[str, object], None]
    ) -> None:
        super().__init__(node, spawn, publish)
        self._front = front
        self._tail = tail

    def stop(self) -> None:
        """See the protocol of feeds. Processes go on for what is left of their time; it goes to nobody."""
        super().stop()
        self._tail.forget(self._front)

    def lines(self, message: LogLines) -> None:
        """What a process has written."""
        text = f'{{"process":"{message.process}","dropped":{message.dropped},"lines":[{",".join(message.lines)}]}}'
        self._publish("lines", text)

    async def _run(self) -> None:
        while True:
            self._tail.follow(self._front, LEASE_S, self.lines)
            for name in self._node.names():
                if name != self._front:
                    self._node.cast(name, FollowLog(self._front, LEASE_S))
            await asyncio.sleep(RENEW_S)
