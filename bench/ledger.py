"""Durable transfers at the level of the ledger's actor, beside pgbench doing the same as SQL on the same server.

    python -m bench.ledger [--rounds 5] [--seconds 4] [--batches 1,10,100,1000,8000]
    python -m bench.ledger --long 10000000      rate, memory and times of verification and restart along the way
    python -m bench.ledger --writer [--clients 1 64 1000] [--batch 1] [--profile]       the writer alone

The ledger runs as in service: in a process of its own, asked over the node's connections, with the notifier that hears
of its blocks; PostgreSQL keeps every promise (fsync, synchronous_commit). pgbench has as many clients as the ledger has
callers at most, and both forms of the SQL (`bench.pgbench`). Rounds are interleaved, because the same code varies by
half between minutes: only the ratio within a round says something. On a busy machine even that does not: pgbench has 64
processes that get their share of it, the ledger one. After each round the ledger's tree must have grown by what was
answered, at the end everything is verified. Results go to bench/results/ledger.json (ledger_long.json).

Exit code: 0, or 1 when the database does not hold what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from bench import ledger_long, ledger_writer
from bench.cpu import family_seconds, generator_seconds, snapshot
from bench.ledger_load import (
    LEDGER,
    MOST_CALLERS,
    NOTIFIER,
    LedgerProcess,
    Load,
    callers_for,
    ledger_process,
    load,
    made_before,
    open_accounts,
)
from bench.pgbench import SCRIPTS, PgBench, program
from bitnexus import __version__
from bitnexus.actors.ledger.verification import verify
from bitnexus.actors.messages import GetHead, Head
from bitnexus.storage import migrator
from bitnexus.storage.embedded import EmbeddedPostgres

RESULTS: Final = Path(__file__).with_name("results") / "ledger.json"
LONG_RESULTS: Final = RESULTS.with_name("ledger_long.json")
PEER: Final = "pgbench"
#: By batch: how many times pgbench's transfers.
GOALS: Final = {1_000: 10.0}
WARM_UP_S: Final = 1.0
KINDS: Final = (LEDGER, NOTIFIER, "postgresql", "asking")


@dataclass(frozen=True, slots=True)
class Round:
    """One contestant's part of one round; `batch` 0 is pgbench. CPU in µs per transfer, by kind of process."""

    contestant: str
    batch: int
    number: int
    clients: int
    transfers: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]


class Bench:
    """The ledger, and the peer if there is one, on one server."""

    def __init__(self, ledger: LedgerProcess, peer: PgBench | None, server: EmbeddedPostgres, console: Console) -> None:
        self._ledger, self._peer, self._server, self._console = ledger, peer, server, console
        self._accounts: list[str] = []
        self.complaints: list[str] = []

    async def run(self, options: argparse.Namespace) -> list[Round]:
        """A warm-up for each, then all in turn, round by round."""
        self._accounts = await open_accounts(self._ledger, options.accounts)
        if self._peer is not None:
            self._console.print(f"The peer is {await self._peer.start()}.")
        done: list[Round] = []
        for number in range(options.rounds + 1):
            seconds = options.seconds if number else WARM_UP_S
            with self._console.status(f"round {number} of {options.rounds}" if number else "warm-up"):
                peers = [await self._of_peer(form, number, seconds) for form in SCRIPTS if self._peer is not None]
                ours = [await self._of_ledger(batch, number, seconds) for batch in options.batches]
            if number:
                done += [*peers, *ours]
                shown = ", ".join(f"{one.contestant} {one.per_second:,.0f}" for one in (*peers, *ours))
                self._console.print(f"round {number}: {shown}")
        return done

    async def _of_peer(self, form: str, number: int, seconds: float) -> Round:
        assert self._peer is not None
        before = self._cpu()
        ran = await self._peer.load(form, seconds)
        cpu_us = self._cpu_us(before, ran.transfers)
        speeds = (ran.per_second, ran.p50_ms, ran.p99_ms)
        return Round(peer_name(form), 0, number, MOST_CALLERS, ran.transfers, *speeds, cpu_us)

    async def _of_ledger(self, batch: int, number: int, seconds: float) -> Round:
        made, callers, size = made_before(self._accounts, batch, seconds), callers_for(batch), await self._size()
        before, stop_at = self._cpu(), time.perf_counter() + seconds

        def is_over(_: Load) -> bool:
            return time.perf_counter() > stop_at

        seen = await load(self._ledger, made, callers=callers, batch=batch, until=is_over)
        cpu_us, recorded = self._cpu_us(before, seen.transfers), await self._size() - size
        if recorded != seen.transfers:
            self.complaints.append(f"batches of {batch}: {seen.transfers} were answered, {recorded} are in the log")
        name = f"ledger, {batch:,}"
        rate, p50_ms, p99_ms = seen.per_second, seen.latency_ms(0.5), seen.latency_ms(0.99)
        return Round(name, batch, number, callers, seen.transfers, rate, p50_ms, p99_ms, cpu_us)

    def _cpu(self) -> dict[str, float]:
        """Seconds so far; "asking" is this process, and pgbench once it has ended."""
        assert self._server.pid is not None
        names = {self._ledger.pid: LEDGER, self._ledger.pid_of(NOTIFIER): NOTIFIER}
        return {**snapshot(names), "postgresql": family_seconds(self._server.pid), "asking": generator_seconds()}

    def _cpu_us(self, before: dict[str, float], transfers: int) -> dict[str, float]:
        return {kind: (seconds - before[kind]) / transfers * 1e6 for kind, seconds in self._cpu().items()}

    async def _size(self) -> int:
        head = await self._ledger.ask(GetHead())
        assert isinstance(head, Head)
        return head.tree_size


def ratios(rounds: Iterable[Round], contestant: str, peer: str) -> list[float]:
    """The ledger's transfers through pgbench's, round by round."""
    speeds = {(one.contestant, one.number): one.per_second for one in rounds}
    return [
        speed / speeds[peer, number]
        for (name, number), speed in speeds.items()
        if name == contestant and (peer, number) in speeds
    ]


def table(rounds: Sequence[Round]) -> Table:
    """Throughput, latency, and how many times each pgbench's."""
    shown = Table(
        title="Durable transfers, at the level of the ledger's actor",
        caption="Latencies are those of a whole batch; × is the median ratio within a round, and its extent.",
    )
    for column in ("contestant", "clients", "min /s", "median /s", "max /s", "p50 ms", "p99 ms"):
        shown.add_column(column, justify="left" if column == "contestant" else "right", no_wrap=True)
    for form in SCRIPTS:
        shown.add_column(f"× {form}", justify="right", no_wrap=True)
    for name in dict.fromkeys(one.contestant for one in rounds):
        group = [one for one in rounds if one.contestant == name]
        speeds = [one.per_second for one in group]
        found = [ratios(rounds, name, peer_name(form)) if group[0].batch else [] for form in SCRIPTS]
        shown.add_row(
            name,
            str(group[0].clients),
            *(f"{value:,.0f}" for value in (min(speeds), statistics.median(speeds), max(speeds))),
            f"{statistics.median(one.p50_ms for one in group):.1f}",
            f"{statistics.median(one.p99_ms for one in group):.1f}",
            *(f"{statistics.median(each):.1f} ({min(each):.1f}–{max(each):.1f})" if each else "" for each in found),
        )
    return shown


def cpu_table(rounds: Sequence[Round]) -> Table:
    """Where the time goes, which says more than the rate when others use the machine as well."""
    shown = Table(title="CPU per transfer, µs (median of the rounds)")
    shown.add_column("contestant", no_wrap=True)
    for kind in (*KINDS, "all but asking"):
        shown.add_column(kind, justify="right")
    for name in dict.fromkeys(one.contestant for one in rounds):
        found = [one.cpu_us for one in rounds if one.contestant == name]
        medians = [statistics.median(each[kind] for each in found) for kind in KINDS]
        shown.add_row(name, *(f"{value:.1f}" for value in (*medians, sum(medians[:-1]))))
    return shown


def peer_name(form: str) -> str:
    """The contestant."""
    return f"{PEER}, {form}"


def summary(rounds: Sequence[Round], options: argparse.Namespace, complaints: Sequence[str]) -> dict[str, Any]:
    """What is written down."""
    goals = []
    for name, batch in dict.fromkeys((one.contestant, one.batch) for one in rounds if one.batch):
        for form in SCRIPTS:
            found, goal = ratios(rounds, name, peer_name(form)), GOALS.get(batch)
            if found:
                median = statistics.median(found)
                extent = {"median": median, "min": min(found), "max": max(found)}
                met = None if goal is None else median >= goal
                goals.append({"batch": batch, "against": peer_name(form), "goal": goal, **extent, "met": met})
    return {
        "version": __version__,
        "machine": machine(),
        "options": {"rounds": options.rounds, "seconds": options.seconds, "accounts": options.accounts},
        "goals": goals,
        "complaints": list(complaints),
        "rounds": [asdict(one) for one in rounds],
    }


def machine() -> dict[str, Any]:
    """What it was measured on; the load is the number of processes that wanted to run at the end."""
    system = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    return {**system, "nice": os.nice(0), "load": os.getloadavg()[0]}


def compare(options: argparse.Namespace, console: Console) -> int:
    """The rounds beside pgbench; the exit code."""
    path = program()
    if path is None:
        console.print("There is no pgbench on this machine: the ledger is measured alone.", style="bold yellow")
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory,
        EmbeddedPostgres(Path(directory, "postgresql")) as server,
    ):
        migrator.migrate(server.url)
        peer = None if path is None else PgBench(path, server, clients=MOST_CALLERS, accounts=options.accounts)
        with ledger_process(server.url, Path(directory, "var")) as ledger:
            bench = Bench(ledger, peer, server, console)
            rounds = ledger.loop.run_until_complete(bench.run(options))
        complaints = [*bench.complaints, *asyncio.run(_surpluses(server.url, peer))]
    console.print(table(rounds), cpu_table(rounds))
    found = summary(rounds, options, complaints)
    for goal in found["goals"]:
        if goal["goal"] is not None:
            verdict = "met" if goal["met"] else "missed"
            against, ratio = goal["against"], goal["median"]
            console.print(f"Batches of {goal['batch']:,}: {ratio:.2f} × {against}, goal {goal['goal']}: {verdict}")
    write(RESULTS, found)
    for complaint in complaints:
        console.print(complaint, style="bold red")
    return 1 if complaints else 0


async def _surpluses(url: str, peer: PgBench | None) -> list[str]:
    """Verify everything, also that the peer has done its job."""
    db = await asyncpg.connect(url)
    try:
        await verify(db)
    finally:
        await db.close()
    surplus = 0 if peer is None else await peer.surplus()
    return [f"pgbench's balances do not add up: {surplus} too much"] if surplus else []


def write(path: Path, results: dict[str, Any]) -> None:
    """Keep the results."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def writer(options: argparse.Namespace, console: Console) -> int:
    """The writer alone."""
    if options.url:
        migrator.migrate(options.url)
        uvloop.run(ledger_writer.table(options, options.url, console))
        return 0
    with tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as name, EmbeddedPostgres(Path(name)) as server:
        migrator.migrate(server.url)
        uvloop.run(ledger_writer.table(options, server.url, console))
    return 0


def main() -> None:
    """Measure, print, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each contestant's part of a round")
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument(
        "--batches", default=[1, 10, 100, 1_000, 8_000], type=lambda text: [int(part) for part in text.split(",")]
    )
    parser.add_argument("--long", type=int, metavar="TRANSFERS", help="the long form, instead")
    parser.add_argument("--writer", action="store_true", help="the writer alone, instead")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64, 1000], help="with --writer")
    parser.add_argument("--batch", type=int, default=1, help="with --writer")
    parser.add_argument("--profile", action="store_true", help="with --writer")
    parser.add_argument("--url", help="with --writer: a database of its own, else an embedded server with fsync")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = 120
    if options.writer:
        sys.exit(writer(options, console))
    if options.long:
        about = {"version": __version__, "machine": machine()}
        found = ledger_long.measure(
            options.long, options.accounts, console, lambda results: write(LONG_RESULTS, about | results)
        )
        sys.exit(1 if found["complaints"] else 0)
    sys.exit(compare(options, console))


if __name__ == "__main__":
    main()
