"""Waiting for a bounded time that only this process's own time uses up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

_STEP_S: Final = 0.1


async def wait_at_work(ready: Callable[[], Awaitable[object]], within_s: float) -> bool:
    """Whether `ready`, which may be called again and again, returned within `within_s` in which this process did run.

    One that was stopped, or had none of the machine, would else give up what it has had no time to read yet.
    """
    for _ in range(max(1, round(within_s / _STEP_S))):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STEP_S):
                await ready()
                return True
    return False
