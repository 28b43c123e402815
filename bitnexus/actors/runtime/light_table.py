"""The table of light actors: who is active, who has been idle longest, who must make room. Pure (see light.py)."""

from __future__ import annotations

from typing import Generic

from bitnexus.actors.runtime.idle_wheel import IdleWheel
from bitnexus.actors.runtime.light_actor import ENDED, C, Counters, LightActor, Limits, M, Out
from bitnexus.errors import Overloaded


class LightTable(Generic[M, C, Out]):
    """The active actors by key, and their passivation. Base of LightActors."""

    __slots__ = ("_actors", "_idle_ticks", "_now_s", "_retiring", "_wheel", "counters", "limits")

    def __init__(self, limits: Limits, now_s: float) -> None:
        self.limits = limits
        self.counters = Counters()
        self._now_s = now_s
        self._actors: dict[str, LightActor[M, C, Out]] = {}
        self._wheel: IdleWheel[LightActor[M, C, Out]] = IdleWheel(now_s, limits.tick_s)
        self._idle_ticks = max(1, round(limits.idle_s / limits.tick_s))
        self._retiring: set[str] = set()

    def __len__(self) -> int:
        """How many actors are active."""
        return len(self._actors)

    def sweep(self, now_s: float, at_most: int = 5_000) -> bool:
        """Forget actors idle for `idle_s`; True when there may be more than the `at_most` looked at now."""
        self._now_s = max(self._now_s, now_s)
        self._wheel.advance(now_s)
        before = self._wheel.tick - self._idle_ticks
        while at_most > 0:
            actor, looked = self._take(before, at_most)
            if actor is None:
                return looked >= at_most
            at_most -= looked
        return True

    def retire(self, key: str) -> None:
        """Forget this actor as soon as it is idle, so that it is rebuilt from durable state when needed."""
        actor = self._actors.get(key)
        if actor is not None:
            self._retiring.add(key)
            self.settled(actor)

    def settled(self, actor: LightActor[M, C, Out]) -> None:
        """Forget the actor if that was asked for and it is idle now."""
        if actor.key in self._retiring and not actor.ended and not actor.in_use:
            self._passivate(actor)

    def _make_room(self) -> None:
        actor, _ = self._take(self._wheel.tick + 1, self.limits.look_at)
        if actor is None:
            self._refuse("too many actors are at work")

    def _take(self, before_tick: int, look_at: int) -> tuple[LightActor[M, C, Out] | None, int]:
        actor, looked = self._wheel.take_oldest(before_tick, look_at)
        if actor is not None:
            self._passivate(actor)
        return actor, looked

    def _passivate(self, actor: LightActor[M, C, Out]) -> None:
        assert actor.mailbox is None
        self.counters.passivated += 1
        self._forget(actor)

    def _forget(self, actor: LightActor[M, C, Out]) -> None:
        actor.status = ENDED
        actor.mailbox = None
        del self._actors[actor.key]
        self._retiring.discard(actor.key)

    def _refuse(self, why: str) -> None:
        self.counters.refused += 1
        raise Overloaded(f"The service is overloaded: {why}")
