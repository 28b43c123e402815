"""The plots of a run, as SVG; each needs its part of the run and is left out without it.

throughput.svg, latency.svg     against connections (sweep)
cpu.svg                         CPU per transfer by kind of process (transfers)
processes.svg                   throughput against fronts and partitions (scaling)
memory.svg                      memory against users and against the log (memory)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench import scaling
from bench.arithmetic import Extent, entries, figures, rounds_of
from bench.lineup import OURS
from bench.sheets import KINDS, Results, cpu_by_entry, family

_SIZE: Final = (8.0, 4.5)
_WIDE: Final = (10.0, 4.5)
_MB: Final = 1_000_000
#: The same results make the same file; letters stay letters.
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "bitnexus",
    "svg.fonttype": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
}
_METADATA: Final = {"Date": None}
#: A set of colours that most people can tell apart (Okabe and Ito's).
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")


def draw(found: Results, directory: Path) -> list[Path]:
    """Draw all that this run has figures for; the files."""
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    with mpl.rc_context(_STYLE):
        for name, plot in PLOTS.items():
            if (figure := plot(found)) is not None:
                path = directory / f"{name}.svg"
                figure.savefig(path, metadata=_METADATA, bbox_inches="tight")
                made.append(path)
    return made


def _throughput(found: Results) -> Figure | None:
    return _swept(found, (("rate", "-", ""),), "transfers a second")


def _latency(found: Results) -> Figure | None:
    return _swept(found, (("p50_ms", "-", ", p50"), ("p99_ms", "--", ", p99")), "ms")


def _swept(found: Results, fields: Sequence[tuple[str, str, str]], unit: str) -> Figure | None:
    """Lines against connections, with the spread of the rounds."""
    swept = entries(found["rounds"], "sweep")
    if not swept:
        return None
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    for colour, contestant in zip(_COLOURS, dict.fromkeys(family(one.contestant) for one in swept), strict=False):
        of_it = sorted((one for one in swept if family(one.contestant) == contestant), key=lambda one: one.connections)
        at = [one.connections for one in of_it]
        for field, line, label in fields:
            extents = [Extent.of(figures(rounds_of(found["rounds"], "sweep", one), field).values()) for one in of_it]
            width = 2.5 if contestant == OURS else 1.5
            medians = [extent.median for extent in extents]
            axes.plot(at, medians, line, marker="o", color=colour, linewidth=width, label=contestant + label)
            axes.fill_between(at, [one.min for one in extents], [one.max for one in extents], color=colour, alpha=0.15)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    ticks = sorted({one.connections for one in swept})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("connections")
    axes.set_ylabel(unit)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _cpu(found: Results) -> Figure | None:
    by_entry = cpu_by_entry(found)
    if not by_entry:
        return None
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    names = [f"{entry.contestant} ({entry.connections})" for entry in by_entry]
    _stack(axes, names, list(by_entry.values()), barh=True)
    axes.invert_yaxis()
    axes.set_xlabel("CPU per transfer, µs")
    axes.legend(fontsize="small", loc="lower right")  # pgbench's bars are the shortest
    return figure


def _stack(axes: Axes, names: Sequence[str], figures_by_kind: Sequence[Mapping[str, float]], *, barh: bool) -> None:
    """A bar for each name, made of its kinds."""
    below = [0.0] * len(names)
    for colour, kind in zip(_COLOURS, KINDS, strict=False):
        heights = [float(by_kind.get(kind, 0.0)) for by_kind in figures_by_kind]
        if any(heights):
            if barh:
                axes.barh(names, heights, left=below, color=colour, label=kind)
            else:
                axes.bar(names, heights, bottom=below, color=colour, label=kind)
        below = [one + more for one, more in zip(below, heights, strict=True)]


def _processes(found: Results) -> Figure | None:
    combined = entries(found["rounds"], scaling.NAME)
    if not combined:
        return None
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    extents = [Extent.of(figures(rounds_of(found["rounds"], scaling.NAME, one), "rate").values()) for one in combined]
    names = ["{} + {}".format(*scaling.combination_of(one.contestant)) for one in combined]
    medians = [extent.median for extent in extents]
    errors = [[one.median - one.min for one in extents], [one.max - one.median for one in extents]]
    axes.bar(names, medians, yerr=errors, color=_COLOURS[0], capsize=4)
    axes.set_xlabel("fronts + partitions")
    axes.set_ylabel("transfers a second")
    return figure


def _memory(found: Results) -> Figure | None:
    told: Mapping[str, Any] | None = found.get("memory")
    if told is None:
        return None
    figure = Figure(figsize=_WIDE)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, points, field in ((left, told["users"], "users"), (right, told["log"], "transfers")):
        names = [f"{point[field]:,}" for point in points]
        _stack(axes, names, [_in_mb(point["bytes_by_kind"].items()) for point in points], barh=False)
        axes.set_xlabel("users" if field == "users" else "transfers in the log")
        axes.tick_params(axis="x", labelsize="small")
    left.set_ylabel("MB, without PostgreSQL")
    left.legend(fontsize="small")
    return figure


def _in_mb(sizes: Iterable[tuple[str, int]]) -> dict[str, float]:
    return {kind: size / _MB for kind, size in sizes}


PLOTS: Final[dict[str, Callable[[Results], Figure | None]]] = {
    "throughput": _throughput,
    "latency": _latency,
    "cpu": _cpu,
    "processes": _processes,
    "memory": _memory,
}
