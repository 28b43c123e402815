"""A bound on how much of something is under way: who needs more waits, for a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bitnexus.errors import Overloaded


class Budget:
    """At most `most` units under way; one that needs more than that goes alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._given_back = asyncio.Condition()

    @property
    def taken(self) -> int:
        """The units under way."""
        return self._taken

    @asynccontextmanager
    async def take(self, units: int, *, timeout_s: float) -> AsyncIterator[None]:
        """Have `units` for this block, after waiting at most `timeout_s` for them.

        Raises:
            Overloaded: they were not to be had; nothing was done.
        """
        try:
            async with asyncio.timeout(timeout_s), self._given_back:
                await self._given_back.wait_for(lambda: not self._taken or self._taken + units <= self._most)
                self._taken += units
        except TimeoutError as error:
            raise Overloaded("Too much is being served") from error
        try:
            yield
        finally:
            self._taken -= units
            async with self._given_back:
                self._given_back.notify_all()
