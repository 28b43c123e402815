"""The timers of a table of light actors: one heap, however many there are. Pure; times are absolute seconds.

A timer belongs to a key, not to an object: it outlives the passivation of its actor, which is activated again when it
fires. Those of one table fire in the order of their times, those of one time in the order of their start; never early.
A cancelled timer leaves the heap when it comes to its top, or when half of the heap is cancelled ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

_FEW = 64  # below this size a heap is not worth cleaning


class Timer:
    """One timer; `pending` until it fires or is cancelled."""

    __slots__ = ("context", "due_s", "key", "message", "number", "pending")

    def __init__(self, key: str, message: Any, context: Any, due_s: float) -> None:
        self.key = key
        self.message = message
        self.context = context
        self.due_s = due_s
        self.number = 0  # of those of one time the lowest fires first
        self.pending = True


class Timers:
    """Ordered by time, and found by key."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._by_key: dict[str, set[Timer]] = {}
        self._number = 0
        self._count = 0

    def __len__(self) -> int:
        """How many are pending."""
        return self._count

    def of(self, key: str) -> int:
        """How many of this key are pending."""
        return len(self._by_key.get(key, ()))

    @property
    def next_due_s(self) -> float | None:
        """When the next one is due; None when there is none."""
        self._drop_cancelled()
        return self._heap[0][0] if self._heap else None

    def start(self, timer: Timer) -> None:
        """Add one; the caller has seen to the bounds."""
        self._number += 1
        timer.number = self._number
        self._count += 1
        self._by_key.setdefault(timer.key, set()).add(timer)
        heapq.heappush(self._heap, (timer.due_s, self._number, timer))

    def cancel(self, timer: Timer) -> bool:
        """True if it was pending: it will not fire."""
        if not timer.pending:
            return False
        self._settle(timer)
        if len(self._heap) > 2 * self._count + _FEW:
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapq.heapify(self._heap)
        return True

    def cancel_all(self, key: str) -> list[Timer]:
        """Cancel those of a key; gives them in the order in which they would have fired."""
        timers = sorted(self._by_key.get(key, ()), key=lambda timer: (timer.due_s, timer.number))
        for timer in timers:
            self.cancel(timer)
        return timers

    def due(self, now_s: float, at_most: int) -> Iterator[Timer]:
        """Those due by now; each leaves when the next one is asked for: one whose use raises stays."""
        for _ in range(at_most):
            self._drop_cancelled()
            if not self._heap or self._heap[0][0] > now_s:
                return
            timer = self._heap[0][2]
            yield timer
            if timer.pending:
                self._settle(timer)

    def _settle(self, timer: Timer) -> None:
        timer.pending = False
        self._count -= 1
        of_key = self._by_key[timer.key]
        of_key.discard(timer)
        if not of_key:
            del self._by_key[timer.key]

    def _drop_cancelled(self) -> None:
        heap = self._heap
        while heap and not heap[0][2].pending:
            heapq.heappop(heap)


class Alarm:
    """The one timer of the loop that stands behind all of a table's.

    `clock` gives the time; `wake_at` asks for a wake-up then, in place of the one asked for before.
    """

    def __init__(self, clock: Callable[[], float], wake_at: Callable[[float], object]) -> None:
        self.now_s = clock
        self._wake_at = wake_at
        self._set_s = inf

    def set(self, due_s: float) -> None:
        """Wake no later than this."""
        if due_s < self._set_s:
            self._set_s = due_s
            self._wake_at(due_s)

    def rang(self) -> None:
        """It has woken: it is not set any more."""
        self._set_s = inf
