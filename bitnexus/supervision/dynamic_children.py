"""The children of a dynamic supervisor: those that simply run, by their pids, and the others as objects.

Nothing here knows about budgets, intensity or the supervisor's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bitnexus.supervision.children import Child, Children, Status
from bitnexus.supervision.events import ChildCounts, ChildInfo, Error, Pid
from bitnexus.supervision.spec import ChildSpec


class DynamicChildren(Children):
    """`running` holds the pids of the children that run; iteration, `get` and `len` are about the others."""

    def __init__(self, template: ChildSpec) -> None:
        super().__init__()
        self.template = template
        self.running: dict[str, Pid] = {}
        self.specs: dict[str, ChildSpec] = {}  # of those whose spec is not the template

    @property
    def total(self) -> int:
        """How many children there are, those that wait or are set aside among them."""
        return len(self.running) + len(self)

    def knows(self, child_id: str) -> bool:
        """There is such a child."""
        return child_id in self.running or self.get(child_id) is not None

    def spec(self, child_id: str) -> ChildSpec:
        """The spec of a child, or the template."""
        return self.specs.get(child_id, self.template) if self.specs else self.template

    def take_out(self, child_id: str, pid: Pid | None = None) -> Child | None:
        """A child as an object, because something is to happen to it; None if there is none, or not with this pid."""
        child = self.get(child_id)
        if child is None and child_id in self.running and pid in (None, self.running[child_id]):
            child = self.add(child_id, self.spec(child_id))
            child.status, child.pid = Status.RUNNING, self.running.pop(child_id)
        return child if child is not None and (pid is None or child.pid == pid) else None

    def put_back(self, child: Child) -> None:
        """It simply runs."""
        assert child.pid is not None, child
        self.hand_over(child)
        self.running[child.id] = child.pid

    def why_no_start(self, child_id: str, now: float, max_children: int | None) -> Error | None:
        """Why no child may be started under this id, or None."""
        if child_id in self.running:
            return Error("already_started", self.running[child_id])
        if len(self) and (child := self.get(child_id)) is not None:
            if child.status is Status.QUARANTINED:
                return Error("quarantined", max(0.0, child.due_at - now))
            return Error("already_present") if child.pid is None else Error("already_started", child.pid)
        if max_children is not None and self.total >= max_children:
            return Error("max_children")
        return None

    # -- queries --------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[ChildInfo]:
        """which_children, one by one."""
        for child in self:
            yield child.info()
        for child_id, pid in list(self.running.items()):
            yield ChildInfo(child_id, pid, self.spec(child_id).type)

    def counts(self) -> ChildCounts:
        """count_children."""
        supervisors = sum(spec.type == "supervisor" for spec in self.specs.values())
        if self.template.type == "supervisor":
            supervisors += self.total - len(self.specs)
        active = len(self.running) + sum(child.pid is not None for child in self)
        return ChildCounts(self.total, active, supervisors, self.total - supervisors)

    def full_spec(self, child_id: str) -> ChildSpec | None:
        """The spec of a child under its own id."""
        return replace(self.spec(child_id), id=child_id) if self.knows(child_id) else None
