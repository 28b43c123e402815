"""What every process does for operators: it says how it is, waits when it is told to, and shows what it receives."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any, Final

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.gate import Gate
from bitnexus.actors.runtime.handlers import handles
from bitnexus.actors.runtime.inspection_messages import (
    Drain,
    Drained,
    GetState,
    MailboxTraced,
    Resume,
    Scalar,
    StateSummary,
    Suspend,
    TraceMailbox,
)
from bitnexus.actors.runtime.log_tail import FollowLog, LogLines, LogTail
from bitnexus.actors.runtime.message import Done, Message
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import Overloaded

#: How often it is looked whether what was taken has been finished.
_LOOK_S: Final = 0.01
_LONGEST_TEXT: Final = 500


class Inspected:
    """Base of Process, which makes the `gate`. Subclasses override `summary`, `drain`, `undrain` and `is_for`."""

    gate: Gate
    node: Node
    name: str
    log: Any
    _mailbox: int
    _log_tail: LogTail | None = None

    def summary(self) -> dict[str, Scalar]:
        """The process's state in a few numbers and words that are safe to show: no secrets, no bodies."""
        return {}

    def is_for(self, key: str, message: Message) -> bool:  # noqa: ARG002 - for those who override it
        """Whether the message is for the light actor `key` of this process."""
        return False

    @property
    def light_actors(self) -> int | None:
        """How many light actors are active in this process; None: it is not one for them."""
        return None

    async def drain(self, within_s: float) -> int:
        """Finish what was taken, while nothing new comes in. Gives how much is left, after `within_s` at most."""
        loop = self.node.loop
        deadline = loop.time() + within_s
        # Looked at now and then: an event for each answer would cost the hot path.
        while self._mailbox > 0 and loop.time() < deadline and not self.gate.is_open:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        return self._mailbox

    def beat(self, lag_s: float = 0.0) -> None:
        """Give the supervisor a sign of life."""
        raise NotImplementedError

    async def undrain(self) -> None:
        """Take again what `drain` has ended, besides messages."""

    def sender_of(self, connection: Connection) -> str:
        """Who is at the other end, in words."""
        return self.node.name_of(connection)

    @property
    def waiting(self) -> int:
        """Messages received whose work is not done, those among them that wait while the process is suspended."""
        return self._mailbox + self.gate.waiting

    def _is_no_work(self, context: Context) -> None:
        """An operator's question is none of the messages that a process is to finish."""
        if context.on_answered is not None:
            context.on_answered = None
            context.connection.open_calls -= 1
            self._mailbox -= 1

    @handles(Suspend)
    def _suspend(self, message: Suspend, context: Context) -> Done:  # noqa: ARG002 - it has no parameters
        self._is_no_work(context)
        self.log.warning("suspended_by_operator")
        self._stop_taking()
        return Done()

    @handles(Resume)
    async def _resume(self, message: Resume, context: Context) -> Done:  # noqa: ARG002 - as above
        self._is_no_work(context)
        self.log.warning("resumed_by_operator", waited=self.gate.waiting)
        await self.undrain()
        self.gate.resume()
        self.beat()
        return Done()

    def _stop_taking(self) -> None:
        self.gate.suspend()
        self.beat()  # so that the supervisor shows it at once

    @handles(Drain)
    async def _drain(self, message: Drain, context: Context) -> Drained:
        self._is_no_work(context)
        self.log.warning("drained_by_operator", within_s=message.within_s)
        self._stop_taking()
        return Drained(await self.drain(min(message.within_s, context.remaining_s)))

    @handles(GetState)
    def _state(self, message: GetState, context: Context) -> StateSummary:  # noqa: ARG002 - a question
        self._is_no_work(context)
        known: dict[str, Scalar] = {
            "class": type(self).__qualname__,
            "suspended": self.gate.is_suspended,
            "mailbox": self.waiting,
            "calls_in_flight": self.node.in_flight,
            "light_actors": self.light_actors,
        }
        try:
            known |= {name: _shown(value) for name, value in self.summary().items()}
        except Exception as error:  # a process must not end by being looked at
            self.log.exception("summary_failed")
            known["summary"] = f"failed: {type(error).__name__}"
        return StateSummary(known)

    @property
    def log_tail(self) -> LogTail:
        """This process's log lines, for those who follow them."""
        if self._log_tail is None:
            self._log_tail = LogTail(self.name, self.node.loop)
        return self._log_tail

    @handles(FollowLog)
    def _follow_log(self, message: FollowLog, context: Context) -> None:
        # Over the connection by which it came: the root knows no names.
        self.log_tail.follow(message.front, message.for_s, partial(self._send_lines, context.connection))

    def _send_lines(self, connection: Connection, message: LogLines) -> None:
        if not connection.is_closed:
            with contextlib.suppress(Overloaded):  # a follower that does not read misses lines: the log has them
                self.node.cast_over(connection, message)

    @handles(TraceMailbox)
    async def _trace(self, message: TraceMailbox, context: Context) -> MailboxTraced:
        self._is_no_work(context)
        key = message.key
        found = await self.gate.trace(
            message.count,
            min(message.within_s, context.remaining_s),
            (lambda received: self.is_for(key, received)) if key else lambda _: True,
        )
        return MailboxTraced(found)


def _shown(value: Scalar) -> Scalar:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value
