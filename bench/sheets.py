"""The tables of a run, as plain rows: what the terminal and the documentation both show. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench import scaling
from bench.arithmetic import Extent, entries, figures, medians_by_kind, ratios, rounds_of
from bench.growth import slope
from bench.jobs import Entry
from bench.lineup import OURS
from bench.sizing import MAY_BE_BUSY, costs

Results = Mapping[str, Any]
KINDS: Final = ("front", "partition", "ledger", "notifier", "supervision", "postgresql")
#: Transfers a second for which the sizes are told.
_RATES: Final = (1_000, 5_000, 20_000)
_KB: Final = 1_000
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its title, its columns (the first `texts` of them are no figures), its rows, a remark."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    caption: str = ""


def sheets(found: Results) -> list[Sheet]:
    """All tables of a run, but for those that have no rows."""
    made = [goals(found)]
    for name, job in found["jobs"].items():
        made.append(by_connections(found) if name == "sweep" else speeds(found, name, job["title"]))
    made += [cpu(found), sizes(found), against_processes(found), memory(found)]
    return [sheet for sheet in made if sheet.rows]


def goals(found: Results) -> Sheet:
    """What was to be reached, and whether it was."""
    rows = [
        (
            goal["job"],
            goal["against"],
            f"{'≤' if goal['sense'] == 'at most' else '≥'} {goal['goal']:g} ×",
            f"{goal['median']:.2f} ×",
            f"{goal['min']:.2f} – {goal['max']:.2f}",
            "met" if goal["met"] else "missed",
        )
        for goal in found["goals"]
    ]
    return Sheet(
        "Goals",
        ("job", "against", "goal", "median of the ratios", "least – most", ""),
        rows,
        texts=2,
        caption="Ratios are taken within a round.",
    )


def speeds(found: Results, job: str, title: str) -> Sheet:
    """Throughput and latency of a job's entries, and how many times each other's our own is."""
    rows = []
    for entry in entries(found["rounds"], job):
        if job == scaling.NAME:
            continue
        these = rounds_of(found["rounds"], job, entry)
        rows.append(
            (
                *_named(entry),
                _spread(figures(these, "rate").values(), "{:,.0f}"),
                _spread(figures(these, "p50_ms").values(), "{:.1f}"),
                _spread(figures(these, "p99_ms").values(), "{:.1f}"),
                _times(found, job, entry),
                f"{Extent.of(figures(these, 'others').values()).median:.2f}",
            )
        )
    return Sheet(
        title,
        ("contestant", "load", "at once", "per second", "p50 ms", "p99 ms", f"{OURS} does", "CPUs lost"),
        rows,
        texts=2,
        caption="Median (least–most) of the rounds; transfers or reads a second, latencies of whole requests. "
        "CPUs lost: busy with something else meanwhile.",
    )


def _named(entry: Entry) -> tuple[str, str, str]:
    return entry.contestant, entry.workload, str(entry.connections)


def _spread(values: Iterable[float], form: str) -> str:
    extent = Extent.of(values)
    median, least, most = (form.format(value) for value in (extent.median, extent.min, extent.max))
    return median if least == most else f"{median} ({least}–{most})"


def _times(found: Results, job: str, entry: Entry) -> str:
    """Our rate through this entry's: for the same load, or where the peer knows no other, for each of ours."""
    if entry.contestant == OURS:
        return ""
    theirs = figures(rounds_of(found["rounds"], job, entry), "rate")
    ours = [one for one in entries(found["rounds"], job) if one.contestant == OURS]
    alike = [one for one in ours if one.workload == entry.workload] or ours
    alike = [one for one in alike if one.connections == entry.connections] or alike
    told = []
    for one in alike:
        if pairs := ratios(figures(rounds_of(found["rounds"], job, one), "rate"), theirs):
            label = f"{one.workload}: " if len(alike) > 1 else ""
            told.append(f"{label}{_spread(pairs, '{:.2f}')} ×")
    return "; ".join(told)


def by_connections(found: Results) -> Sheet:
    """The sweep: a row for each contestant, a column for each number of connections."""
    swept = entries(found["rounds"], "sweep")
    columns = sorted({entry.connections for entry in swept})
    rows = []
    for contestant in dict.fromkeys(family(entry.contestant) for entry in swept):
        of_it = {entry.connections: entry for entry in swept if family(entry.contestant) == contestant}
        cells = []
        for connections in columns:
            if (entry := of_it.get(connections)) is None:
                cells.append("")
                continue
            these = rounds_of(found["rounds"], "sweep", entry)
            rate, p99 = (Extent.of(figures(these, name).values()).median for name in ("rate", "p99_ms"))
            cells.append(f"{rate:,.0f}, {p99:.0f} ms")
        rows.append((contestant, *cells))
    return Sheet(
        "One transfer per request, against connections",
        ("contestant", *map(str, columns)),
        rows,
        caption="Transfers a second and the 99th percentile of the latency, medians of the rounds.",
    )


def family(contestant: str) -> str:
    """Pgbench with any number of clients is one."""
    name, _, clients = contestant.rpartition(", ")
    return name if clients.endswith(" clients") else contestant


def cpu(found: Results) -> Sheet:
    """Where the time goes, with one transfer per request."""
    rows, found_by_entry = [], cpu_by_entry(found)
    ours = next((sum(by_kind.values()) for entry, by_kind in found_by_entry.items() if entry.contestant == OURS), 0.0)
    for entry, by_kind in found_by_entry.items():
        shown = [f"{by_kind[kind]:.0f}" if by_kind.get(kind) else "" for kind in KINDS]
        total = sum(by_kind.values())
        times = f"{total / ours:.2f} ×" if ours else ""
        rows.append((entry.contestant, str(entry.connections), *shown, f"{total:.0f}", times))
    return Sheet(
        "CPU per transfer, µs",
        ("contestant", "at once", *KINDS, "all", f"of {OURS}'s"),
        rows,
        caption="Medians of the rounds with one transfer per request; without the clients. "
        "Supervision is all that has no column. A peer's server processes count as fronts, pgbench has none.",
    )


def cpu_by_entry(found: Results) -> dict[Entry, dict[str, float]]:
    """Medians by kind of process, for the entries of the job with one transfer per request."""
    return {
        entry: medians_by_kind(list(rounds_of(found["rounds"], "transfers", entry).values()))
        for entry in entries(found["rounds"], "transfers")
    }


def sizes(found: Results) -> Sheet:
    """What so many transfers a second need."""
    rows = []
    for load, cost in costs(found["rounds"]).items():
        for rate in _RATES if cost.by_kind.get("ledger") else ():
            below = rate <= cost.ceiling
            needed = [cost.cores(rate), cost.processes("front", rate), cost.processes("partition", rate)]
            cells = map(str, needed) if below else ("", "", "more than one ledger")
            rows.append((load, f"{rate:,}", f"{cost.total:.0f}", *cells, f"{cost.ceiling:,.0f}"))
    return Sheet(
        "What so many transfers a second need",
        ("transfers", "per second", "µs each", "cores", "fronts", "partitions", "the ledger's ceiling, per second"),
        rows,
        caption=f"Arithmetic on the CPU times above, with no core busier than {MAY_BE_BUSY:.0%}; clients not counted.",
    )


def against_processes(found: Results) -> Sheet:
    """Throughput against fronts and partitions, as ratios to the first combination."""
    combined = entries(found["rounds"], scaling.NAME)
    rates = {entry: figures(rounds_of(found["rounds"], scaling.NAME, entry), "rate") for entry in combined}
    rows = []
    for entry, rate in rates.items():
        fronts, partitions = scaling.combination_of(entry.contestant)
        these = list(rounds_of(found["rounds"], scaling.NAME, entry).values())
        cost = f"{sum(medians_by_kind(these).values()):.0f}"
        times = _spread(ratios(rate, rates[combined[0]]), "{:.2f}")
        rows.append((str(fronts), str(partitions), _spread(rate.values(), "{:,.0f}"), f"{times} ×", cost))
    return Sheet(
        "Transfers against fronts and partitions",
        ("fronts", "partitions", "per second", "as many as with the first", "CPU of each, µs"),
        rows,
        texts=0,
        caption="Median (least–most) of the rounds, the service started anew for each.",
    )


def memory(found: Results) -> Sheet:
    """Memory against users and against the log."""
    told = found.get("memory")
    if told is None:
        return Sheet("Memory", (), ())
    rows = []
    for points in (told["users"], told["log"]):
        for point in points:
            by_kind = point["bytes_by_kind"]
            cells = (f"{by_kind.get(kind, 0) / _MB:.1f}" for kind in KINDS[:-1])
            total = f"{sum(by_kind.values()) / _MB:.1f}"
            rows.append((f"{point['users']:,}", f"{point['transfers']:,}", *cells, total))
    return Sheet(
        "Memory of the service, MB",
        ("users", "transfers in the log", *KINDS[:-1], "all"),
        rows,
        texts=0,
        caption=f"Proportional set size without PostgreSQL; {slope(told['users'], 'users') / _KB:.1f} KB for each "
        f"further user, {slope(told['log'][-2:], 'transfers'):.0f} bytes for each transfer of the "
        "log's last step, before which caches fill.",
    )
