"""Light actors that wait for their durable state: their messages, and the loads that read the states. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

from bitnexus.actors.runtime.light_actor import C, Limits, M

Schedule = Callable[[Callable[[], None]], object]
StartLoad = Callable[[Sequence[str]], None]


class Activations(Generic[M, C]):
    """What waits, by key; and at most `limits.loads` loads of at most `limits.load_batch` keys at a time."""

    def __init__(self, limits: Limits, schedule: Schedule, start_load: StartLoad) -> None:
        self.waiting: dict[str, list[tuple[M, C]]] = {}
        self._limits = limits
        self._schedule = schedule
        self._start_load = start_load
        self._to_load: deque[str] = deque()
        self._loads = 0
        self._scheduled = False

    def begin(self, key: str, messages: list[tuple[M, C]]) -> None:
        """Load the state of a key that is not waiting yet."""
        self.waiting[key] = messages
        self._to_load.append(key)
        self._schedule_loads()

    def _schedule_loads(self) -> None:
        # Not at once: all activations of this turn of the loop share a load.
        if self._to_load and not self._scheduled and self._loads < self._limits.loads:
            self._scheduled = True
            self._schedule(self._begin_loads)

    def _begin_loads(self) -> None:
        self._scheduled = False
        while self._to_load and self._loads < self._limits.loads:
            keys = [self._to_load.popleft() for _ in range(min(len(self._to_load), self._limits.load_batch))]
            self._loads += 1
            self._start_load(keys)

    def ended(self, keys: Sequence[str]) -> Iterator[tuple[str, list[tuple[M, C]]]]:
        """A load has ended: what waited for each key. One that was killed meanwhile does not come."""
        self._loads -= 1
        for key in keys:
            messages = self.waiting.pop(key, None)
            if messages is not None:
                yield key, messages
        self._schedule_loads()
