"""Event loops: uvloop where it is installed, else asyncio's own."""

from __future__ import annotations

import asyncio
import os

try:
    import uvloop
except ImportError:  # an optional speed-up: it has no build for every platform
    uvloop = None  # type: ignore[assignment]


def new_event_loop(*, for_single_answers: bool = False) -> asyncio.AbstractEventLoop:
    """A fresh loop; BITNEXUS_LOOP=asyncio forces asyncio's own.

    One that is run `for_single_answers`, until each of them has come, is asyncio's own: uvloop takes 20 µs to start and
    to stop, asyncio's loop 3.
    """
    if uvloop is None or for_single_answers or os.environ.get("BITNEXUS_LOOP") == "asyncio":
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
