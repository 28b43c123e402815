"""When the next block may begin. Pure: the time is passed in.

A block costs the same whether it holds five transfers or fifty: a statement, a flush of the disk, and in every process
on the way the handling of one batch. When many clients wait for their answers at once, a new block that begins the
moment the last one ended takes what has arrived by then, a few, and so does the next one. A short wait lets them
gather. Whoever comes alone never waits.
"""

from __future__ import annotations

from typing import Final

#: Two busy blocks do not begin closer together than this.
INTERVAL_S: Final = 0.003
#: The last block was a busy one if it had at least so many commands.
BUSY: Final = 8


class Pace:
    """Of one writer."""

    def __init__(self) -> None:
        self._not_before_s = 0.0

    def began(self, commands: int, now_s: float) -> None:
        """A block of so many commands begins."""
        self._not_before_s = now_s + INTERVAL_S if commands >= BUSY else 0.0

    def wait_s(self, now_s: float) -> float:
        """How long the next block is to wait from now on; 0 if it may begin."""
        return max(0.0, self._not_before_s - now_s)
