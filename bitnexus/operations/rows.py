"""The tree as rows for operators. Pure, but for the gauges that are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from bitnexus.actors.operator_messages import TreeRow
from bitnexus.operations.survey import Gauges
from bitnexus.operations.tree import Branch
from bitnexus.supervision.inspection_messages import LightActorReport

_BY: Final[dict[str, Callable[[TreeRow], float]]] = {
    "cpu": lambda row: row.cpu or 0.0,
    "memory": lambda row: row.memory or 0,
    "mailbox": lambda row: row.mailbox,
}


def rows(branch: Branch, gauges: Gauges, *, with_cpu: bool = False) -> list[TreeRow]:
    """The branch and all below it, each before its children."""
    return [_row(each, gauges, with_cpu=with_cpu) for each in branch.all()]


def actor_rows(path: str, actors: Iterable[LightActorReport]) -> list[TreeRow]:
    """Light actors of the process at `path`."""
    return [
        TreeRow(
            path=f"{path}/{actor.key}",
            kind="actor",
            status=actor.status,
            restarts=actor.restarts,
            mailbox=actor.waiting,
            cpu=actor.busy_share or None,
            last_exit=actor.last_exit,
            last_exit_us=actor.last_exit_us,
            note=", ".join(f"{name} {value}" for name, value in actor.summary.items()),
        )
        for actor in actors
    ]


def busiest(found: list[TreeRow], sort: str, limit: int) -> list[TreeRow]:
    """The rows with a process, the greediest first."""
    return sorted((row for row in found if row.pid is not None), key=_BY[sort], reverse=True)[:limit]


def _row(branch: Branch, gauges: Gauges, *, with_cpu: bool) -> TreeRow:
    is_supervisor = branch.kind == "supervisor"
    return TreeRow(
        path=branch.path,
        kind=branch.kind,
        status=branch.status,
        pid=branch.pid,
        uptime_s=branch.uptime_s,
        restarts=branch.restarts_used if is_supervisor else branch.restarts,
        restarts_allowed=branch.restarts_allowed if is_supervisor else None,
        period_s=branch.period_s if is_supervisor else None,
        mailbox=branch.mailbox,
        memory=gauges.memory(branch.pid),
        cpu=gauges.cpu(branch.pid) if with_cpu else None,
        last_exit=branch.last_exit,
        last_exit_us=branch.last_exit_us,
        note=branch.note,
    )
