"""What single light actors do, while somebody wants to know: see `LightActors.statistics`.

Switched off, a turn asks once whether it is on; nothing else is paid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitnexus.actors.runtime.light_actor import LightActor

RunActor = Callable[[LightActor[Any, Any, Any], int], int]


@dataclass(slots=True)
class ActorStatistics:
    """Of one actor since the statistics were switched on; lives on through its restarts."""

    turns: int = 0
    received: int = 0
    busy_ns: int = 0  # in `receive` and `emit`
    longest_ns: int = 0  # one turn
    most_waiting: int = 0  # messages, when a turn began


class LightStatistics:
    """By key, for at most `most` keys; those that come later are counted together in `others`.

    `clock_ns` is a clock that never goes back (`time.perf_counter_ns`).
    """

    def __init__(self, clock_ns: Callable[[], int], most: int = 10_000) -> None:
        self.by_key: dict[str, ActorStatistics] = {}
        self.others = ActorStatistics()
        self._clock_ns = clock_ns
        self._most = most

    def busiest(self, count: int) -> list[tuple[str, ActorStatistics]]:
        """The keys that took most time, the first one most."""
        return sorted(self.by_key.items(), key=lambda item: -item[1].busy_ns)[:count]

    def run(self, run_actor: RunActor, actor: LightActor[Any, Any, Any], at_most: int) -> int:
        """Let `run_actor` run the actor, and note it; gives what `run_actor` gave."""
        waiting = len(actor.mailbox or ())
        began_ns = self._clock_ns()
        received = run_actor(actor, at_most)
        spent_ns = self._clock_ns() - began_ns
        entry = self._entry(actor.key)
        entry.turns += 1
        entry.received += received
        entry.busy_ns += spent_ns
        entry.longest_ns = max(entry.longest_ns, spent_ns)
        entry.most_waiting = max(entry.most_waiting, waiting)
        return received

    def _entry(self, key: str) -> ActorStatistics:
        entry = self.by_key.get(key)
        if entry is None:
            if len(self.by_key) >= self._most:
                return self.others
            entry = self.by_key[key] = ActorStatistics()
        return entry
