"""How often is too often: one number for each key, by the generic cell rate algorithm (ITU-T I.371). Pure.

A key may be used `quota` times at once, and then `quota` times in each `window_s`, evenly. What is kept of a key is the
time at which it would be fresh again. Keys are bounded: when there are too many, first those that are fresh are
forgotten, then those that have used least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Final

from bitnexus.errors import TooManyRequests

MOST_KEYS: Final = 50_000  # some 10 MB
#: From which share of a quota on answers tell how much of it is left.
_TOLD_FROM: Final = 0.75


@dataclass(frozen=True, slots=True)
class Policy:
    """`quota` uses in `window_s` for each key; the name stands in headers."""

    name: str
    quota: int
    window_s: int

    @property
    def header(self) -> str:
        """The value of `RateLimit-Policy`."""
        return f'"{self.name}";q={self.quota};w={self.window_s}'


class Throttle:
    """The keys of one policy; `clock` gives seconds."""

    __slots__ = ("_clock", "_fresh_at", "_interval_s", "_most", "_window_s", "policy", "told_from_s")

    def __init__(self, policy: Policy, clock: Callable[[], float], *, most: int = MOST_KEYS) -> None:
        self.policy = policy
        self._window_s = float(policy.window_s)
        self._interval_s = policy.window_s / policy.quota
        #: What `take` gives from which on `tell` is worth its cost.
        self.told_from_s = policy.window_s * _TOLD_FROM
        self._fresh_at: dict[str, float] = {}
        self._clock = clock
        self._most = most

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._fresh_at)

    def take(self, key: str) -> float:
        """Use the key once; in how many seconds it would be fresh again.

        Raises:
            TooManyRequests: not now; nothing was used.
        """
        now = self._clock()
        fresh_at = self._fresh_at.get(key, now)
        used_s = (fresh_at - now if fresh_at > now else 0.0) + self._interval_s
        # Sums of many intervals are a little off.
        if used_s > self._window_s + 1e-9 * self._window_s:
            raise self._refusal(used_s - self._window_s)
        self._fresh_at[key] = now + used_s
        if len(self._fresh_at) > self._most:
            self._forget(now)
        return used_s

    def give_back(self, key: str) -> None:
        """Undo one use of the key."""
        fresh_at = self._fresh_at.get(key)
        if fresh_at is not None:
            self._fresh_at[key] = fresh_at - self._interval_s

    def tell(self, headers: MutableMapping[str, str], used_s: float) -> None:
        """Say in an answer's headers what is left after a `take` that gave `used_s`."""
        left = max(0, int((self._window_s - used_s) / self._interval_s + 1e-6))
        headers["RateLimit-Policy"] = self.policy.header
        headers["RateLimit"] = f'"{self.policy.name}";r={left};t={math.ceil(used_s)}'

    def _refusal(self, wait_s: float) -> TooManyRequests:
        after_s = max(1, math.ceil(wait_s - 1e-6))
        headers = {
            "RateLimit-Policy": self.policy.header,
            "RateLimit": f'"{self.policy.name}";r=0;t={after_s}',
        }
        return TooManyRequests(retry_after_s=after_s, headers=headers)

    def _forget(self, now: float) -> None:
        kept = {key: fresh_at for key, fresh_at in self._fresh_at.items() if fresh_at > now}
        if len(kept) > self._most // 2:
            most_used = sorted(kept.items(), key=lambda item: item[1])
            kept = dict(most_used[len(kept) - self._most // 2 :])
        self._fresh_at = kept
