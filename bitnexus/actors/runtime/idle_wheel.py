"""Which light actors have been idle longest: a coarse wheel, with no timer and no list node per actor.

Time is cut into ticks. Every actor lies in one bucket, that of the tick in which it was last looked at; using an
actor only stores the tick's number in it. When the oldest bucket is searched, an actor used since is moved to the
bucket of that use. So a message costs one attribute store, an idle actor one slot of a bucket, and the order is exact
to a tick.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar


class Idling(Protocol):
    """What the wheel needs of an actor."""

    used: int  # tick of the last use

    @property
    def ended(self) -> bool:
        """True when it is no longer in the table: dropped when met."""

    @property
    def in_use(self) -> bool:
        """True while it has messages or work in flight: it counts as used now."""


A = TypeVar("A", bound=Idling)


class IdleWheel(Generic[A]):
    """Buckets of actors by the tick of their last use; pure, the time comes in by :meth:`advance`."""

    def __init__(self, now_s: float, tick_s: float) -> None:
        assert tick_s > 0
        self._tick_s = tick_s
        self._start_s = now_s
        self._oldest = 0
        self._buckets: dict[int, deque[A]] = {}
        self.tick = 0

    def __len__(self) -> int:
        """How many entries there are, with those of ended actors that were not met yet."""
        return sum(map(len, self._buckets.values()))

    def advance(self, now_s: float) -> None:
        """Let the present be `now_s`; a clock that went back is ignored."""
        self.tick = max(self.tick, int((now_s - self._start_s) / self._tick_s))

    def add(self, actor: A) -> None:
        """Put a new actor in; it counts as used now."""
        actor.used = self.tick
        self._put(actor)

    def take_oldest(self, before_tick: int, look_at: int) -> tuple[A | None, int]:
        """Take out one idle actor whose last use lies before `before_tick`, the oldest first.

        Looks at no more than `look_at` actors. Returns the actor, or None when there is none (or none was found in
        time), and how many were looked at.
        """
        for looked in range(look_at):
            bucket = self._oldest_bucket(before_tick)
            if bucket is None:
                return None, looked
            actor = bucket.popleft()
            if actor.ended:
                continue
            if actor.in_use:
                actor.used = self.tick
                self._put(actor)
            elif actor.used > self._oldest:
                self._put(actor)
            else:
                return actor, looked + 1
        return None, look_at

    def _put(self, actor: A) -> None:
        bucket = self._buckets.get(actor.used)
        if bucket is None:
            bucket = self._buckets[actor.used] = deque()
        bucket.append(actor)

    def _oldest_bucket(self, before_tick: int) -> deque[A] | None:
        while self._oldest < before_tick:
            bucket = self._buckets.get(self._oldest)
            if bucket:
                return bucket
            if self._oldest >= self.tick:
                return None
            self._buckets.pop(self._oldest, None)
            # Straight to the next one there is: the clock may have jumped.
            self._oldest = min(self._buckets, default=self.tick)
        return None
