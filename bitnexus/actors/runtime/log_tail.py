"""A process's log lines for those who follow them: after the filter of secrets, bounded in rate, sent in batches.

Who follows says so again and again, and for how long: there is nothing to clean up after somebody who died. While
nobody does, a line costs nothing but the question.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from bitnexus.actors.runtime.message import Message
from bitnexus.config import logging as log_lines

#: Lines a second of one process, and how many may come at once.
LINES_PER_S: Final = 50
BURST: Final = 200
FLUSH_S: Final = 0.1
MAX_FOLLOWERS: Final = 1_024


class FollowLog(Message, frozen=True, tag="FollowLog/1"):
    """Have :class:`LogLines` cast to `front` for `for_s` seconds from now. A cast."""

    is_control: ClassVar[bool] = True

    front: str
    for_s: float


class LogLines(Message, frozen=True, tag="LogLines/1"):
    """Log lines of a process as JSON texts, in their order; `dropped` came too fast since the last ones. A cast."""

    is_control: ClassVar[bool] = True  # or a line about it would be written, and followed, for ever

    process: str
    lines: list[str]
    dropped: int


class LogTail:
    """The lines of the process called `name`, on its `loop`."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._name = name
        self._loop = loop
        self._followers: dict[str, tuple[float, Callable[[LogLines], object]]] = {}  # → until when, and how
        self._lines: deque[str] = deque()  # bounded by _left; appended to by any thread
        self._dropped = 0
        self._left = float(BURST)
        self._flushing = False

    def follow(self, follower: str, for_s: float, deliver: Callable[[LogLines], object]) -> None:
        """Deliver lines for so long from now."""
        if follower not in self._followers and len(self._followers) >= MAX_FOLLOWERS:
            return
        self._followers[follower] = (self._loop.time() + for_s, deliver)
        log_lines.tap(self._take)
        if not self._flushing:
            self._flushing = True
            self._loop.call_later(FLUSH_S, self._flush)

    def forget(self, follower: str) -> None:
        """Deliver no more."""
        self._followers.pop(follower, None)

    def _take(self, line: str) -> None:
        if self._left < 1:
            self._dropped += 1
            return
        self._left -= 1
        self._lines.append(line)

    def _flush(self) -> None:
        now = self._loop.time()
        self._left = min(float(BURST), self._left + LINES_PER_S * FLUSH_S)
        for follower in [each for each, (until, _) in self._followers.items() if until <= now]:
            del self._followers[follower]
        if not self._followers:
            log_lines.tap(None)
            self._flushing, self._dropped = False, 0
            self._lines.clear()
            return
        if self._lines or self._dropped:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            message, self._dropped = LogLines(self._name, lines, self._dropped), 0
            for _, deliver in list(self._followers.values()):
                deliver(message)
        self._loop.call_later(FLUSH_S, self._flush)
