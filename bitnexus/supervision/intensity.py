"""How often a supervisor may restart: a window over the times of its past restarts.

The rule is OTP's: each attempt is written down first, then counted together with every earlier one for which
``restart_time >= now - period``. More than ``intensity`` of them is too many.
"""

from __future__ import annotations

from collections import deque


class RestartWindow:
    """The restarts of one supervisor in the last ``period_s`` seconds; times are monotonic seconds."""

    def __init__(self, intensity: int, period_s: float) -> None:
        self._intensity = intensity
        self._period_s = period_s
        # One longer than what is allowed: that much is needed to see that it was too many.
        self._restarts: deque[float] = deque(maxlen=intensity + 1)

    def take(self, now: float) -> bool:
        """Write one attempt down and tell whether it is still allowed."""
        self._forget(now)
        self._restarts.append(now)
        return len(self._restarts) <= self._intensity

    def used(self, now: float) -> int:
        """How many attempts still count."""
        self._forget(now)
        return len(self._restarts)

    def _forget(self, now: float) -> None:
        threshold = now - self._period_s
        while self._restarts and self._restarts[0] < threshold:
            self._restarts.popleft()
