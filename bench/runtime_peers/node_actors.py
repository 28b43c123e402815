"""Processes that exchange messages over their nodes."""

from __future__ import annotations

import asyncio
import time

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Done, Message
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.errors import Overloaded


class Item(Message, frozen=True, tag="bench.Item/1"):
    """As a transfer's essentials."""

    debit: str
    credit: str
    amount: int


class Ping(Message, frozen=True, tag="bench.Ping/1"):
    """Answered by :class:`Pong` when it is a call."""

    items: list[Item]


class Pong(Message, frozen=True, tag="bench.Pong/1"):
    """The amounts of the items."""

    amounts: list[int]


class Go(Message, frozen=True, tag="bench.Go/1"):
    """Exchange with `other` for `seconds` with `window` calls in flight; before each, `burst` - 1 casts."""

    other: str
    seconds: float
    window: int = 1
    burst: int = 1
    items: int = 0


class Result(Message, frozen=True, tag="bench.Result/1"):
    """Messages a second, and the times of the round trips when the window was 1."""

    rate: float
    times: list[float]


class Peer(Process):
    """Answers pings, and exchanges them with another one when told to."""

    @handles(Ping)
    def ping(self, message: Ping, context: Context) -> Message | None:
        """Answer a call."""
        return Pong([item.amount for item in message.items]) if context.is_call else None

    @handles(Go)
    async def go(self, message: Go, context: Context) -> Message:
        """Exchange, then tell how fast it was."""
        done: asyncio.Future[None] = self.node.loop.create_future()
        exchange = _Exchange(self, message, done)
        for _ in range(message.window):
            exchange.burst()
        await done
        return Result(exchange.done / exchange.spent_s, exchange.times)

    @handles(Done)
    def nothing(self, message: Done, context: Context) -> Message:
        """For a first contact."""
        return message


class _Exchange:
    """One Go under way; without a task for each call, as partitions do it."""

    def __init__(self, peer: Peer, go: Go, ended: asyncio.Future[None]) -> None:
        self.done = 0
        self.times: list[float] = []
        self.spent_s = 0.0
        self._node, self._go, self._ended = peer.node, go, ended
        self._ping = Ping([Item("debit", "credit", number) for number in range(go.items)])
        self._began_at = time.perf_counter()
        self._sent_at = self._began_at

    def burst(self) -> None:
        """Send once."""
        go, node = self._go, self._node
        for _ in range(go.burst - 1):
            if not node.cast(go.other, self._ping):
                raise Overloaded("a cast was dropped: what was measured is not what was meant")
        node.request(go.other, self._ping, self._answered)

    def _answered(self, result: object) -> None:
        if not isinstance(result, Pong):
            raise TypeError(f"not an answer: {result}")
        go, now = self._go, time.perf_counter()
        self.done += go.burst
        if go.window == 1:
            self.times.append(now - self._sent_at)
            self._sent_at = now
        self.spent_s = now - self._began_at
        if self.spent_s < go.seconds:
            self.burst()
        elif not self._ended.done():
            self._ended.set_result(None)
