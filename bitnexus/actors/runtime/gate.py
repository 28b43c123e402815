"""What stands between the node and a process's handlers while somebody wants it: suspension, traces, the end.

Most of the time nothing does: then the node calls the process's own dispatch, and none of this costs anything.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import TracedMessage
from bitnexus.actors.runtime.message import GetMetrics, Message
from bitnexus.actors.runtime.node import Dispatch, Node
from bitnexus.errors import Overloaded

#: Traces of one process at the same time, messages of one trace, and how long one may last.
MAX_TRACES: Final = 8
MAX_TRACED: Final = 1_000
MAX_TRACE_S: Final = 60.0
#: Messages that are let go in one turn of the loop.
_SLICE: Final = 500

_encoder = msgspec.msgpack.Encoder()

SenderOf = Callable[[Connection], str]
#: Which of all messages a trace is about.
Wanted = Callable[[Message], bool]


class Trace:
    """The next `count` messages that are `wanted`; `done` when they are all there."""

    def __init__(self, count: int, wanted: Wanted) -> None:
        self._count = count
        self._wanted = wanted
        self.messages: list[TracedMessage] = []
        self.done = asyncio.Event()

    def note(self, message: Message, context: Context, sender: str) -> None:
        """A message has come."""
        if len(self.messages) >= self._count or not self._wanted(message):
            return
        size = len(_encoder.encode(message))
        now_us = time.time_ns() // 1000
        self.messages.append(TracedMessage(now_us, type(message).__name__, sender, size, context.is_call))
        if len(self.messages) >= self._count:
            self.done.set()


class Gate:
    """One per process; `dispatch` is its own, `limit` how many messages may wait while it is suspended.

    `sender_of` says in words who is at the other end of a connection.
    """

    def __init__(self, node: Node, name: str, dispatch: Dispatch, sender_of: SenderOf, limit: int) -> None:
        self._node = node
        self._sender_of = sender_of
        self._name = name
        self._dispatch = dispatch
        self._limit = limit
        self._held: deque[tuple[Message, Context]] = deque()
        self._traces: set[Trace] = set()
        self._is_closed = False
        self._is_releasing = False
        self.is_suspended = False

    @property
    def waiting(self) -> int:
        """How many messages wait for the process to go on."""
        return len(self._held)

    @property
    def is_open(self) -> bool:
        """Whether messages come in: neither suspended nor at the end."""
        return not (self.is_suspended or self._is_closed)

    def suspend(self) -> None:
        """Let messages wait, from now on; the node's own and questions for metrics pass."""
        self.is_suspended = True
        self._divert()

    def resume(self) -> None:
        """Let what waited pass, in its order, then whatever comes."""
        self.is_suspended = False
        self._release()

    def close(self) -> None:
        """The process ends: it begins nothing more, and says nothing about what it has not begun.

        Whoever waits for an answer hears of the end of the connection, and may repeat the call to the successor.
        """
        self._is_closed = True
        self._held.clear()
        self._divert()

    async def trace(self, count: int, within_s: float, wanted: Wanted) -> list[TracedMessage]:
        """The next messages that are `wanted`, as soon as there are `count`, or after `within_s`. Raises Overloaded."""
        if len(self._traces) >= MAX_TRACES:
            raise Overloaded(f"{self._name} is being traced {MAX_TRACES} times already")
        trace = Trace(min(max(count, 1), MAX_TRACED), wanted)
        self._traces.add(trace)
        self._divert()
        try:
            async with asyncio.timeout(min(within_s, MAX_TRACE_S)):
                await trace.done.wait()
        except TimeoutError:
            pass  # then it is as many as came
        finally:
            self._traces.discard(trace)
            self._divert()
        return trace.messages

    def _divert(self) -> None:
        holds = self.is_suspended or self._is_closed or self._held
        self._node.dispatch_by(self._through if holds or self._traces else self._dispatch)

    def _through(self, message: Message, context: Context) -> None:
        if self._traces:
            sender = self._sender_of(context.connection)
            for trace in tuple(self._traces):
                trace.note(message, context, sender)
        if message.is_control or isinstance(message, GetMetrics):
            self._dispatch(message, context)
        elif self._is_closed:
            pass  # see `close`
        elif self.is_suspended or self._held:
            self._hold(message, context)
        else:
            self._dispatch(message, context)

    def _hold(self, message: Message, context: Context) -> None:
        if len(self._held) >= self._limit:
            # Those whose callers have given up need not wait any longer.
            self._held = deque(each for each in self._held if not each[1].expired)
        if len(self._held) < self._limit:
            self._held.append((message, context))
            return
        if not context.is_call:
            self._node.losses.lost(self._name, message, "the mailbox is full")
        context.fail(Overloaded(f"the mailbox of {self._name} is full"))

    def _release(self) -> None:
        if not self._is_releasing:
            self._is_releasing = True
            self._release_slice()

    def _release_slice(self) -> None:
        self._is_releasing = False
        for _ in range(min(_SLICE, len(self._held))):
            if self.is_suspended or self._is_closed:
                break
            self._dispatch(*self._held.popleft())
        if self._held and not (self.is_suspended or self._is_closed):
            self._is_releasing = True
            self._node.loop.call_soon(self._release_slice)
        self._divert()
