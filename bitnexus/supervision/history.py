"""How the children of one supervisor ended: the last exits of each, and counters. Pure and bounded.

Times are those of the machine: monotonic seconds. Nothing is held for a child that never ended; of more than
`children` that did, the one whose last end lies longest ago is forgotten. A child's history outlives the child.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from bitnexus.actors.runtime.reasons import ExitReason

EXITS_OF_A_CHILD: Final = 10
CHILDREN: Final = 1000
#: How much of a traceback is kept; an exception's reason is bounded already, a light actor's trace is longer.
TRACEBACK_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class Ended:
    """One end of a child; `uptime_s` is None for a start that failed."""

    at_s: float
    reason: ExitReason
    uptime_s: float | None

    @property
    def traceback(self) -> str:
        """The head of its traceback, or an empty string."""
        return self.reason.traceback[-TRACEBACK_MAX:]


@dataclass(slots=True)
class Counters:
    """What happened to a child, or to all, since the supervisor started."""

    exits: int = 0  # ends of a child that was up
    crashes: int = 0  # those of them that were not normal
    failed_starts: int = 0
    restarts: int = 0  # starts by the supervisor that succeeded, the first one not among them


@dataclass(slots=True)
class _ChildHistory:
    ends: deque[Ended]
    counters: Counters = field(default_factory=Counters)


class History:
    """The last `exits` ends of each of the last `children` children that ended."""

    def __init__(self, *, exits: int = EXITS_OF_A_CHILD, children: int = CHILDREN) -> None:
        assert exits > 0
        assert children > 0
        self.totals = Counters()
        self._exits = exits
        self._limit = children
        self._children: OrderedDict[str, _ChildHistory] = OrderedDict()

    def __len__(self) -> int:
        """How many children have a history."""
        return len(self._children)

    def exited(self, child_id: str, reason: ExitReason, *, now: float, uptime_s: float | None) -> None:
        """A child that was up has ended; `uptime_s` is None where nobody knows it."""
        child = self._note(child_id, Ended(now, reason, uptime_s))
        for counters in (child.counters, self.totals):
            counters.exits += 1
            counters.crashes += not reason.is_normal

    def failed_to_start(self, child_id: str, reason: ExitReason, *, now: float) -> None:
        """A start has failed."""
        child = self._note(child_id, Ended(now, reason, None))
        for counters in (child.counters, self.totals):
            counters.failed_starts += 1

    def restarted(self, child_id: str) -> None:
        """The supervisor has started a child again."""
        self.totals.restarts += 1
        if (child := self._children.get(child_id)) is not None:
            child.counters.restarts += 1

    def of(self, child_id: str) -> list[Ended]:
        """The last ends of a child, oldest first."""
        child = self._children.get(child_id)
        return list(child.ends) if child else []

    def counters(self, child_id: str) -> Counters:
        """The counters of a child; all zero for one that never ended or was forgotten."""
        child = self._children.get(child_id)
        return child.counters if child else Counters()

    def latest(self, count: int) -> list[tuple[str, Ended]]:
        """The children that ended last, each with its last end, newest first."""
        newest = list(reversed(self._children.items()))[:count]
        return [(child_id, child.ends[-1]) for child_id, child in newest]

    def _note(self, child_id: str, ended: Ended) -> _ChildHistory:
        child = self._children.get(child_id)
        if child is None:
            child = self._children[child_id] = _ChildHistory(deque(maxlen=self._exits))
            if len(self._children) > self._limit:
                self._children.popitem(last=False)
        else:
            self._children.move_to_end(child_id)
        child.ends.append(ended)
        return child
