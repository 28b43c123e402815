"""When a request may be sent again, and after how long. Pure.

Repeated is what cannot do harm: what only reads, what carries an id or a key by which the service knows it again, and
what is known not to have been begun. Nothing begins after the deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
#: Statuses after which the same request may have more luck.
TRANSIENT: Final = frozenset({408, 429, 502, 503, 504})
#: Refused before any effect, whatever the request was.
NOT_BEGUN: Final = frozenset({429})


@dataclass(frozen=True, slots=True)
class Repeating:
    """No attempt begins `deadline_s` after the first or later; `statuses` are those that are repeated."""

    deadline_s: float
    statuses: frozenset[int] = TRANSIENT

    def after_status(self, status: int, *, is_safe: bool) -> bool:
        """Whether a request that was answered so may be sent again; `is_safe`: it may be sent any number of times."""
        return status in self.statuses and (is_safe or status in NOT_BEGUN)

    def pause_s(
        self, attempt: int, asked_s: float, left_s: float, jitter: Callable[[float, float], float]
    ) -> float | None:
        """How long to wait after the attempt of this number (from 0); None: there is no time left for another one.

        `asked_s` is what the service asked for (`Retry-After`): never sooner than that.
        """
        backoff_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt, 16)) * jitter(0.5, 1.0)
        pause_s = max(asked_s, backoff_s)
        return pause_s if pause_s < left_s else None
