"""Event loops: uvloop where it is installed, else asyncio's own."""

from __future__ import annotations

import asyncio
import os

try:
    import uvloop
except ImportError:  # an optional speed-up: it has no build for every platform
    uvloop = None  # type: ignore[assignment]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A fresh loop; BITNEXUS_LOOP=asyncio forces asyncio's own."""
    if uvloop is None or os.environ.get("BITNEXUS_LOOP") == "asyncio":
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
