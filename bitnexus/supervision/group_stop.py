"""The end of a dynamic supervisor: all running children are stopped at the same time.

One timer for each length of shutdown time kills what is left then. Stops are given in slices.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from bitnexus.supervision.dynamic_children import DynamicChildren
from bitnexus.supervision.events import CancelTimer, How, Stop
from bitnexus.supervision.spec import ChildSpec

#: Stops given at once; the next slice follows when other messages had their turn.
STOP_SLICE: Final = 1000


class GroupStop:
    """Begins when it is made. Every later event belongs to it until no child is running."""

    def __init__(self, children: DynamicChildren) -> None:
        self._children = children
        self._kill_timers: dict[int, float] = {}  # token -> the shutdown time that is over
        self._slice_timer: int | None = None
        self._to_stop: deque[tuple[str, How]] = deque()
        specs = [children.specs[child_id] for child_id in children.specs if child_id in children.running]
        if len(specs) < len(children.running):
            specs.append(children.template)
        for shutdown_s in sorted({spec.stop_within_s for spec in specs if spec.stop_within_s is not None}):
            self._kill_timers[children.set_timer(shutdown_s)] = shutdown_s
        self._to_stop.extend((child_id, first_asked(children.spec(child_id))) for child_id in children.running)
        self._slice()

    def fired(self, token: int) -> bool:
        """True if this timer was one of its own."""
        if token == self._slice_timer:
            self._slice_timer = None
        elif (shutdown_s := self._kill_timers.pop(token, None)) is not None:
            children = self._children
            overdue = (child_id for child_id in children.running if children.spec(child_id).stop_within_s == shutdown_s)
            self._to_stop.extend((child_id, "kill") for child_id in overdue)
        else:
            return False
        self._slice()
        return True

    def stopped(self, child_id: str) -> None:
        """This child has ended."""
        del self._children.running[child_id]
        self._children.specs.pop(child_id, None)
        if not self._children.running:
            for token in self._kill_timers:
                self._children.emit(CancelTimer(token))
            self._kill_timers.clear()
            self._to_stop.clear()

    def _slice(self) -> None:
        for _ in range(min(STOP_SLICE, len(self._to_stop))):
            child_id, how = self._to_stop.popleft()
            if child_id in self._children.running:
                self._children.emit(Stop(child_id, self._children.running[child_id], how))
        if self._to_stop and self._slice_timer is None:
            self._slice_timer = self._children.set_timer(0.0)


def first_asked(spec: ChildSpec) -> How:
    """How a stop of a child with this spec begins."""
    return "kill" if spec.shutdown == "brutal_kill" else "shutdown"
