"""A sweep: some children are stopped in reverse start order, one after another, then started in start order.

The first start of a supervisor is a sweep with nothing to stop; the restart of one_for_all and rest_for_one is one
with both; the end of a supervisor is one with nothing to start. At most one sweep is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.supervision.children import Children, Status


class Sweep:
    """A plan over the children with these ids (in start order); `exit_reason` is that of a supervisor that ends."""

    def __init__(
        self,
        scope: Sequence[str],
        *,
        stops: bool = True,
        is_initial: bool = False,
        exit_reason: ExitReason | None = None,
    ) -> None:
        self.scope = frozenset(scope)
        self.is_initial = is_initial
        self.exit_reason = exit_reason
        self._to_stop = list(scope) if stops else []
        self._to_start = deque(scope if exit_reason is None else ())

    def stops(self, child_id: str) -> bool:
        """The sweep still stops children, this one among them: its end is part of the plan."""
        return bool(self._to_stop) and child_id in self.scope

    def unfinished(self, children: Children) -> set[str]:
        """The ids that a new sweep must take over if it replaces this one."""
        if self._to_stop:
            return set(self.scope)
        pending = (Status.WAITING, Status.STARTING)
        return {child.id for child in map(children.get, self._to_start) if child and child.status in pending}

    def advance(self, children: Children) -> bool:
        """Take the next step if its turn has come; True if the sweep is complete. Call it after every event."""
        return self._stop_next(children) and self._start_next(children)

    def _stop_next(self, children: Children) -> bool:
        while self._to_stop:
            child = children.get(self._to_stop[-1])
            if child is not None and child.is_alive:
                if child.status is not Status.STOPPING:
                    children.stop(child)
                return False
            self._to_stop.pop()
        return True

    def _start_next(self, children: Children) -> bool:
        while self._to_start:
            child = children.get(self._to_start[0])
            if child is not None and child.status is Status.WAITING:
                children.start(child, "initial_start" if self.is_initial else "sweep")
            if child is not None and child.status is Status.STARTING:
                return False
            self._to_start.popleft()
        return True
