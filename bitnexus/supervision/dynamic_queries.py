"""What can be asked of a dynamic supervisor; asking changes nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bitnexus.supervision import events as ev
from bitnexus.supervision.children import Status
from bitnexus.supervision.dynamic_children import DynamicChildren
from bitnexus.supervision.intensity import RestartWindow
from bitnexus.supervision.spec import ChildSpec


class DynamicQueries:
    """Base of DynamicMachine, which has the children and the window."""

    _children: DynamicChildren
    _window: RestartWindow

    def __len__(self) -> int:
        """How many children there are, those that wait or are set aside among them."""
        return self._children.total

    def refusal(self, child_id: str, now: float) -> float | None:
        """The seconds that a child must still wait before it may be started; None: it may be. Cheap."""
        child = self._children.get(child_id)
        if child is None or child.status not in (Status.RESTARTING, Status.QUARANTINED):
            return None
        return max(0.0, child.due_at - now)

    def quarantined(self) -> list[str]:
        """The children that are set aside."""
        return [child.id for child in self._children if child.status is Status.QUARANTINED]

    def which_children(self) -> Iterator[ev.ChildInfo]:
        """All children, in no particular order; one by one, since they may be many."""
        return self._children.rows()

    def count_children(self) -> ev.ChildCounts:
        """How many children there are, how many of them are alive, and of which type."""
        return self._children.counts()

    def get_childspec(self, child_id: str) -> ChildSpec | ev.Error:
        """The spec of a child under its own id, or ``ev.Error("not_found")``."""
        return self._children.full_spec(child_id) or ev.Error("not_found")

    def restarts_used(self, now: float) -> int:
        """How many of the allowed restarts of the supervisor count at this time."""
        return self._window.used(now)
