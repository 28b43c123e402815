"""What was away and when, as far as the tool has caused it; and waiting until it is back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.chaos.excuses import Loss, Outage

#: Whatever was done, within this all is as before; far more than it takes, but the machine may be busy.
BACK_WITHIN_S: Final = 45.0
#: Between two looks.
POLL_S: Final = 0.03
#: A turn of the tool's own loop that is this quick, so many times in a row.
_PROMPT_S: Final = 0.1
_PROMPT_TURNS: Final = 3


class Journal:
    """The outages of a run."""

    def __init__(self) -> None:
        self.outages: list[Outage] = []

    @asynccontextmanager
    async def outage(
        self, fault: str, loss: Loss = Loss.NOTHING, *, front: str = "", safe_ports: frozenset[int] = frozenset()
    ) -> AsyncIterator[None]:
        """It lasts as long as the block."""
        outage = Outage(fault, loss, time.monotonic(), front=front, safe_ports=safe_ports)
        self.outages.append(outage)
        try:
            yield
        finally:
            await _until_prompt()
            outage.ended_at = time.monotonic()

    def write(self, path: Path) -> None:
        """For those who want to know what led to what."""
        with path.open("w") as file:
            for outage in self.outages:
                shown = asdict(outage) | {"loss": str(outage.loss), "safe_ports": len(outage.safe_ports)}
                file.write(json.dumps(shown) + "\n")


async def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Return when it holds; it is asked in a thread. AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(POLL_S)


async def _until_prompt() -> None:
    """Until this loop, on a busy machine, has read what came in meanwhile: else its clients notice too late."""
    deadline, prompt = time.monotonic() + BACK_WITHIN_S, 0
    while prompt < _PROMPT_TURNS and time.monotonic() < deadline:
        begun_at = time.monotonic()
        await asyncio.sleep(POLL_S)
        prompt = prompt + 1 if time.monotonic() - begun_at < _PROMPT_S else 0
