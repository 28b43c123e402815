"""The requests under way in one front, and its way out: no new connections, then nothing under way, then the end."""

from __future__ import annotations

import asyncio


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

    async def drain(self, timeout_s: float) -> bool:
        """Return when no request is under way, or after `timeout_s`; True if none is."""
        self.draining = True
        self._none_left.clear()
        if self.under_way:
            try:
                await asyncio.wait_for(self._none_left.wait(), timeout_s)
            except TimeoutError:
                return False
        return True

    def resume(self) -> None:
        """After a drain: answers keep their connections again."""
        self.draining = False
