"""The tree as operators see it on `admin:tree`, and what has changed in it between two looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bitnexus.operations.tree import Branch


@dataclass(frozen=True, slots=True)
class Row:
    """A process: as its supervisor tells of it."""

    path: str
    kind: str
    state: str
    pid: int | None
    restarts: int
    last_exit: str
    last_exit_us: int


def rows(root: Branch) -> dict[str, Row]:
    """All processes, by their path, each before those below it."""
    return {
        each.path: Row(each.path, each.kind, each.status, each.pid, each.restarts, each.last_exit, each.last_exit_us)
        for each in root.all()
    }


def shown(found: Iterable[Row]) -> list[dict[str, Any]]:
    """As events have them."""
    return [asdict(row) for row in found]


def changes(before: Mapping[str, Row], now: Mapping[str, Row]) -> list[dict[str, Any]]:
    """What has happened, each with the process as it is now (of one that was removed, as it was).

    `change`: "died" (it has no process any more, and why stands in `last_exit`), "restarted" (another process has its
    place; it may have died more than once, see `restarts`), "started", "removed" (it is no child any more), "changed".
    """
    found = [
        {"change": change, **asdict(row)}
        for path, row in now.items()
        if (change := _change(before.get(path), row)) is not None
    ]
    return found + [{"change": "removed", **asdict(row)} for path, row in before.items() if path not in now]


def _change(before: Row | None, now: Row) -> str | None:
    if before == now:
        return None
    was, is_ = None if before is None else before.pid, now.pid
    if was != is_:
        if is_ is None:
            return "died"
        # Restarts are counted when the successor is up, ends when they happen.
        return "restarted" if before is not None and (now.restarts or now.last_exit) else "started"
    return "changed" if before is not None else "started"
