"""Casts that were lost over a bound: counted each, logged once a second."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from prometheus_client import Counter

from bitnexus.actors.runtime.message import Message

_LOG_EVERY_S: Final = 1.0

_lost = Counter("bitnexus_casts_lost", "Casts refused over a bound, by who sent them or who should have taken them")

log = structlog.get_logger("bitnexus.runtime")


class Losses:
    """Of one process; `total` is how many were lost so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.total = 0
        self._logged = 0
        self._silent_until = 0.0

    def lost(self, target: str, message: Message, reason: str) -> None:
        """A cast to `target` was lost."""
        self.total += 1
        _lost.inc()
        now = self._loop.time()
        if now >= self._silent_until:
            lost, self._logged = self.total - self._logged, self.total
            self._silent_until = now + _LOG_EVERY_S
            log.warning("casts_lost", to=target, message=type(message).__name__, reason=reason, lost=lost)
