"""How the operators' commands show what they were answered: tables and lines, with colours on a terminal alone."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bitnexus.actors.operator_messages import (
        HistoryShown,
        MessagesTraced,
        StateShown,
        Step,
        TreeRow,
        TreeShown,
    )

_STYLES: Final = {
    "running": "green",
    "idle": "green",
    "runnable": "green",
    "busy": "green",
    "suspended": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "activating": "yellow",
    "restarting": "bold red",
    "quarantined": "bold red",
    "stopped": "dim",
    "inactive": "dim",
}
_ACTIONS: Final = {"stop": "yellow", "end": "yellow", "drain": "yellow", "suspend": "yellow", "kill": "bold red"}
#: Where nobody watches, lines are as long as they are.
_WIDE: Final = 200
_KIB: Final = 1024
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def console(*, err: bool = False) -> Console:
    """The terminal, or a wide page without colours."""
    stream = sys.stderr if err else sys.stdout
    return Console(stderr=err, highlight=False, width=None if stream.isatty() else _WIDE)


def tree_table(shown: TreeShown) -> Table:
    """A tree, drawn."""
    table = _table("path", "pid", "state", "uptime", "restarts", "mailbox", "memory", "last exit", "")
    for row, drawn in zip(shown.rows, _drawn([row.path for row in shown.rows]), strict=True):
        table.add_row(Text(drawn, style="bold" if row.kind == "supervisor" else ""), *_cells(row), row.note)
    return table


def top_table(shown: TreeShown) -> Table:
    """The busiest."""
    table = _table("cpu", "path", "pid", "state", "uptime", "restarts", "mailbox", "memory", "last exit", "")
    for row in shown.rows:
        cpu = "" if row.cpu is None else f"{row.cpu * 100:.1f} %"
        table.add_row(cpu, Text(row.path), *_cells(row), row.note)
    return table


def state_table(shown: StateShown) -> Table:
    """The fields of a state."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in shown.fields.items():
        table.add_row(Text(name, style="bold"), Text("–" if value is None else str(value)))
    return table


def history_table(shown: HistoryShown) -> Table:
    """Ends, newest first."""
    table = _table("when", "path", "uptime", "reason")
    for end in shown.exits:
        reason = Text(end.reason)
        if end.traceback:
            reason.append(f"\n{end.traceback}", style="dim")
        table.add_row(moment(end.time_us), end.path, _duration(end.uptime_s), reason)
    return table


def trace_table(shown: MessagesTraced) -> Table:
    """Messages as they came."""
    table = _table("when", "message", "", "from", "bytes")
    for message in shown.messages:
        kind = "call" if message.is_call else "cast"
        table.add_row(moment(message.time_us), message.message, kind, Text(message.sender), str(message.size))
    return table


def steps_table(steps: Sequence[Step]) -> Table:
    """Steps, numbered in their order."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for number, step in enumerate(steps, 1):
        table.add_row(
            f"{number}.",
            Text(step.action, style=_ACTIONS.get(step.action, "green")),
            Text(step.path),
            "" if step.pid is None else f"pid {step.pid}",
            Text(f"by {step.by}", style="dim"),
            Text(step.note, style="dim"),
        )
    return table


def moment(time_us: int) -> str:
    """A time in this place's time zone, to the millisecond."""
    seconds, fraction = divmod(time_us, 1_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{fraction // 1000:03d}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in columns:
        numbers = column in ("cpu", "pid", "uptime", "restarts", "mailbox", "memory", "bytes")
        table.add_column(column, justify="right" if numbers else "left", no_wrap=column in ("path", "when", "message"))
    return table


def _cells(row: TreeRow) -> tuple[Text | str, ...]:
    restarts = str(row.restarts)
    if row.restarts_allowed is not None and row.period_s is not None:
        restarts = f"{row.restarts}/{row.restarts_allowed} in {row.period_s:g} s"
    ago_s = time.time() - row.last_exit_us / 1e6
    last = f"{row.last_exit} ({_duration(ago_s)} ago)" if row.last_exit else ""
    return (
        "" if row.pid is None else str(row.pid),
        Text(row.status, style=_STYLES.get(row.status, "")),
        _duration(row.uptime_s),
        restarts,
        str(row.mailbox),
        _size(row.memory),
        Text(last),
    )


def _drawn(paths: Sequence[str]) -> list[str]:
    """Each path as a line of the tree; paths come in depth-first order, the first is the top."""
    lines = []
    for at, path in enumerate(paths):
        if at == 0:
            lines.append(path)
            continue
        top, parts = paths[0], path[len(paths[0]) + 1 :].split("/")
        line = ""
        for depth in range(len(parts)):
            ancestor = "/".join([top, *parts[: depth + 1]])
            is_last = not _has_later_sibling(paths, at, ancestor)
            if depth == len(parts) - 1:
                line += ("└─ " if is_last else "├─ ") + parts[-1]
            else:
                line += "   " if is_last else "│  "
        lines.append(line)
    return lines


def _has_later_sibling(paths: Sequence[str], at: int, path: str) -> bool:
    parent = path.rpartition("/")[0]
    return any(
        later.rpartition("/")[0] == parent and later != path and not path.startswith(f"{later}/")
        for later in paths[at + 1 :]
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{int(seconds // _MINUTE_S)} min {int(seconds % _MINUTE_S)} s"
    if seconds < _DAY_S:
        return f"{int(seconds // _HOUR_S)} h {int(seconds % _HOUR_S // _MINUTE_S)} min"
    return f"{int(seconds // _DAY_S)} d {int(seconds % _DAY_S // _HOUR_S)} h"


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / _KIB / _KIB:.1f} MB"
