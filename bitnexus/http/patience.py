"""How long a front waits for its clients: who sends a head bit by bit, or does not take an answer, is cut off.

Bodies have their time limit where they are read (see routes.py), connections that ask nothing aiohttp's keep-alive,
sockets and polls a bound on what waits for them. What is left is looked at once a second, all connections at once:
timers for each of them would cost every request something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from bitnexus.errors import RequestTimedOut
from bitnexus.http.room import last_answer

LOOK_S: Final = 1.0
#: From the first byte of a head to its last one.
HEAD_S: Final = 10.0
#: As long as an answer may be stuck: its client takes less of it than the connection could hold.
STUCK_S: Final = 30.0

log = structlog.get_logger(__name__)


class Wire(Protocol):
    """What is needed of a transport."""

    def is_closing(self) -> bool: ...  # noqa: D102 - as in asyncio
    def get_write_buffer_size(self) -> int: ...  # noqa: D102
    def write(self, data: bytes, /) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def abort(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Seen:
    """A connection as it is looked at.

    `half_head` names the head of which a part has come, "" if none has; `is_stuck`: its client must take something
    before anything else can be done with it.
    """

    id: Hashable
    wire: Wire
    half_head: str
    is_stuck: bool


class Patience:
    """Looks at the connections that `seen` gives."""

    def __init__(self, seen: Callable[[], Iterator[Seen]], *, head_s: float = HEAD_S, stuck_s: float = STUCK_S) -> None:
        self._seen = seen
        self._head_s = head_s
        self._stuck_s = stuck_s
        #: Since when something has been the matter with a connection, and what.
        self._since: Mapping[Hashable, tuple[str, float]] = {}

    def look(self, now: float) -> int:
        """Cut off whose time is over; how many."""
        kept: dict[Hashable, tuple[str, float]] = {}
        cut = 0
        for each in self._seen():
            matter = "stuck" if each.is_stuck else each.half_head
            if not matter:
                continue
            before = self._since.get(each.id)
            since = before[1] if before is not None and before[0] == matter else now
            if now - since < (self._stuck_s if each.is_stuck else self._head_s):
                kept[each.id] = matter, since
                continue
            cut += 1
            if each.is_stuck:
                log.info("slow_reader_cut_off", waiting_bytes=each.wire.get_write_buffer_size())
                each.wire.abort()
            else:
                log.info("slow_head_cut_off")
                each.wire.write(last_answer(RequestTimedOut("The head of the request did not arrive in time")))
                each.wire.close()
        self._since = kept
        return cut

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(loop.time())
