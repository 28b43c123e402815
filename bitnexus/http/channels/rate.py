"""How often a client may send: so many messages a second, and a burst of them after a silence. Pure."""

from __future__ import annotations

from typing import Final

#: A client that comes back joins its hundred topics at once, and pushes what waited.
PUSHES_PER_S: Final = 100.0
BURST_S: Final = 5.0


class Flooding(Exception):
    """The client sends more than it may."""


class Rate:
    """A token bucket: `per_s` messages a second; what was not used is kept for :data:`BURST_S` seconds."""

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._most = self._left = per_s * BURST_S
        self._at = now

    def take(self, now: float) -> None:
        """Count one message at `now`, in seconds of any monotonic clock. Raises Flooding."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            raise Flooding
        self._left -= 1
