"""A feed that works while somebody reads: what the feeds of the operators' topics share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from bitnexus.actors.runtime.node import Node
from bitnexus.http.channels.hub import Spawn


class RunningFeed(ABC):
    """`publish` takes an event and its payload; see the protocol of feeds (topics.py) for the rest."""

    def __init__(self, node: Node, spawn: Spawn, publish: Callable[[str, object], None]) -> None:
        self._node = node
        self._spawn = spawn
        self._publish = publish
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first reader has come."""
        self._running = self._spawn(self._run())

    def stop(self) -> None:
        """The last one has left."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def opening(self) -> tuple[str, object] | None:
        """Nothing: a reader begins with what comes."""
        return None

    @abstractmethod
    async def _run(self) -> None:
        """Publish; cancelled when nobody reads any more."""
