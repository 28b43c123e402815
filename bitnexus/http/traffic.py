"""The requests under way in one front, and its way out: no new connections, then nothing under way, then the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

#: A client in the middle of its work has sent its next request by then: the answer tells it that this front goes.
LINGER_S: Final = 0.5
#: At most so much of the time that a drain may take: others wait for its end.
_LINGER_SHARE: Final = 0.25
_LOOK_S: Final = 0.01


class Traffic:
    """Counts requests. While `draining`, every answer closes its connection, so that clients turn to another front.

    aiohttp's own shutdown would drop the rest of a request that has begun to arrive; this one waits for it.
    """

    def __init__(self) -> None:
        self.under_way = 0
        self.draining = False
        self._none_left = asyncio.Event()

    def enter(self) -> None:
        """A request's head has arrived."""
        self.under_way += 1

    def leave(self) -> None:
        """Its answer is made."""
        self.under_way -= 1
        if self.draining and not self.under_way:
            self._none_left.set()

    def drain(self, timeout_s: float, connections: Callable[[], int] = lambda: 0) -> Coroutine[Any, Any, bool]:
        """To be awaited until no request is under way, or `timeout_s` is over, or it resumes; True if none is.

        It drains from the call on, not only from when it is awaited.

        Of `connections`, the number of those that are open, some wait for their client's next request. They are given
        LINGER_S: who is cut off between two requests cannot know whether the second one was heard.
        """
        self.draining = True
        return self._drain(timeout_s, connections)

    async def _drain(self, timeout_s: float, connections: Callable[[], int]) -> bool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        linger_until = began + min(LINGER_S, timeout_s * _LINGER_SHARE)
        while self.draining and connections():
            left_s = linger_until - loop.time()
            if left_s <= 0:
                break
            await asyncio.sleep(min(left_s, _LOOK_S))
        return await self._finish(timeout_s - (loop.time() - began))

    async def _finish(self, timeout_s: float) -> bool:
        self._none_left.clear()
        if self.under_way and self.draining:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), timeout_s)
        return not self.under_way

    def resume(self) -> None:
        """After a drain, or in the middle of it: answers keep their connections again."""
        self.draining = False
        self._none_left.set()
