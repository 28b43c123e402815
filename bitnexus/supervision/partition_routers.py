"""A partition supervisor's side of its routers: each is told of moves in order, one message under way at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

import structlog

from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BitNexusError
from bitnexus.supervision.partition_messages import MoveSlots

#: What a router may take to say that it holds; then it is told again.
MOVE_TIMEOUT_S: Final = 30.0
AGAIN_S: Final = 0.05

OnHeld: TypeAlias = Callable[["RouterLink", list[int]], None]
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

log = structlog.get_logger("bitnexus.partitions")


class RouterLink:
    """One router, for the life of the connection over which it joined. `on_held` hears that it holds these slots."""

    def __init__(self, node: Node, name: str, ticket: int, on_held: OnHeld, spawn: Spawn) -> None:
        self.name = name
        self.ticket = ticket
        self._node = node
        self._on_held = on_held
        self._spawn = spawn
        self._number = 0
        self._released: list[tuple[int, int]] = []
        self._held: list[int] = []
        self._telling: asyncio.Task[None] | None = None
        self._has_left = False

    def tell(self, released: list[tuple[int, int]], held: list[int]) -> None:
        """Let it know, behind what it is being told already."""
        self._released += released
        self._held += held
        if self._telling is None and not self._has_left:
            self._telling = self._spawn(self._tell())

    def leave(self) -> None:
        """It is gone."""
        self._has_left = True
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        while self._released or self._held:
            self._number += 1
            message = MoveSlots(self.ticket, self._number, self._released, self._held)
            self._released, self._held = [], []
            await self._until_answered(message)
            if message.held:
                self._on_held(self, message.held)
        self._telling = None

    async def _until_answered(self, message: MoveSlots) -> None:
        while True:
            try:
                await self._node.call(self.name, message, timeout_s=MOVE_TIMEOUT_S)
            except BitNexusError as error:
                # It has died, and its connection will say so; or it has not heard yet that it has joined.
                log.info("router_told_again", router=self.name, reason=error.code)
                await asyncio.sleep(AGAIN_S)
            else:
                return
