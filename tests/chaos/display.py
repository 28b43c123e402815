"""How a run goes: a table that renews itself on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.chaos.run import Show, State

_LINE_EVERY_S: Final = 10.0


@contextmanager
def display() -> Iterator[Show]:
    """Shows what it is given, as fits stdout."""
    if sys.stdout.isatty():
        with Live(console=Console(), refresh_per_second=4) as live:
            yield lambda state: live.update(_table(state))
        return
    shown_at, phase = 0.0, ""

    def show(state: State) -> None:
        nonlocal shown_at, phase
        now = time.monotonic()
        if state.phase != phase or now - shown_at >= _LINE_EVERY_S:
            shown_at, phase = now, state.phase
            print(_line(state), flush=True)

    yield show


def _line(state: State) -> str:
    return (
        f"{state.elapsed_s:5.0f} s {state.phase:<16} faults {state.faults:>4}  answers {state.answered:>8}  "
        f"longest gap {state.longest_gap_s:5.2f} s  troubles {state.troubles:>5}  not recovered {state.complaints}"
    )


def _table(state: State) -> Table:
    table = Table(title=f"chaos: {state.phase}", show_header=False)
    rows = {
        "time": f"{state.elapsed_s:.0f} of {state.seconds:.0f} s",
        "faults": f"{state.faults}",
        "now": ", ".join(state.now.values()) or "nothing",
        "requests": f"{state.requests}, {state.answered} answered",
        "longest gap": f"{state.longest_gap_s:.2f} s",
        "troubles": f"{state.troubles} (whether they have an excuse is judged at the end)",
        "not recovered": f"{state.complaints}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
