"""Durable transfers over HTTP, one per request: BitNexus beside its peers, in rounds, on one clean PostgreSQL.

    python -m bench.transfers [--connections 1,16,64] [--rounds 3] [--seconds 10] [--accounts 1000]

Everybody does the same job: an authenticated POST of a transfer between two of the same number of accounts, balance
checked, idempotent by key, durable (fsync on) before the answer. The server, the contestants and the load share this
machine. Rounds are interleaved, because the same code varies by half between minutes: only the ratio within a round
says something. After each round the database must hold as many new transfers as were answered. Results go to
bench/results/transfers.json as well.

Exit code: 0, or 1 when a client saw an error or the databases do not hold what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.contestants import AiohttpAsyncpg, BitNexus, Contestant
from bench.cpu import descendants, generator_seconds, machine_seconds, snapshot
from bench.generators import Load, generator, load
from bitnexus import __version__
from bitnexus.storage.embedded import EmbeddedPostgres

RESULTS = Path(__file__).with_name("results") / "transfers.json"
WARM_UP_S = 3
#: By connections and peer: how many times its transfers.
GOALS = {(64, "aiohttp + asyncpg"): 3.0}
KINDS = ("front", "partition", "ledger", "notifier", "supervision", "postgresql")


@dataclass(frozen=True, slots=True)
class Round:
    """One contestant's part of one round; CPU in µs per transfer, by kind of process.

    `others` is how many CPUs were busy with something else: other programs, and the other contestants at rest.
    """

    contestant: str
    connections: int
    number: int
    load: Load
    cpu_us: dict[str, float]
    others: float
    complaints: list[str]


class Bench:
    """The contestants and the server they share."""

    def __init__(self, contestants: Sequence[Contestant], server: EmbeddedPostgres, console: Console) -> None:
        self._contestants = contestants
        self._server = server
        self._console = console
        self._run = secrets.token_hex(4)

    async def start(self, accounts: int) -> None:
        """Start all of them."""
        for contestant in self._contestants:
            started_at = time.monotonic()
            with self._console.status(f"{contestant.name}: starting, opening {accounts} accounts …"):
                await contestant.start(accounts)
            self._console.print(
                f"{contestant.name} is up with {accounts} accounts, {time.monotonic() - started_at:.0f} s"
            )

    async def rounds(self, connections: int, rounds: int, seconds: int) -> list[Round]:
        """A warm-up for each, then A B C A B C …."""
        done = []
        for number in range(rounds + 1):
            for contestant in self._contestants:
                what = f"round {number} of {rounds}" if number else "warm-up"
                with self._console.status(f"{contestant.name}, {connections} connections: {what} …"):
                    result = await self._round(contestant, connections, number, seconds if number else WARM_UP_S)
                if number or result.complaints:
                    done.append(result)
        return done

    async def _round(self, contestant: Contestant, connections: int, number: int, seconds: int) -> Round:
        recorded = await contestant.recorded()
        before, known, busy = self._cpu(contestant), generator_seconds(), machine_seconds()
        prefix = f"{self._run}-{connections}-{number}"
        seen = await load(contestant.port, contestant.accounts, prefix, connections=connections, seconds=seconds)
        after, known, busy = self._cpu(contestant), generator_seconds() - known, machine_seconds() - busy
        known += sum(after.values()) - sum(before.values())
        cpu_us = {kind: (after[kind] - before.get(kind, 0.0)) / seen.requests * 1e6 for kind in after}
        complaints = [f"{count} {kind} errors" for kind, count in seen.errors.items() if count]
        recorded = await contestant.recorded() - recorded
        # Requests whose answer came after the end of the load are done, but were not counted.
        if not seen.requests - seen.errors["status"] <= recorded <= seen.requests + connections:
            complaints.append(f"{seen.requests} answers, but {recorded} transfers in the database")
        if surplus := await contestant.surplus():
            complaints.append(f"the balances do not add up: {surplus} too much")
        others = max(0.0, busy - known) / seen.seconds
        return Round(contestant.name, connections, number, seen, cpu_us, others, complaints)

    def _cpu(self, contestant: Contestant) -> dict[str, float]:
        assert self._server.pid is not None
        postgresql = dict.fromkeys(descendants(self._server.pid), "postgresql")
        return snapshot({**contestant.kinds(), **postgresql})


def ratios(rounds: Iterable[Round], ours: str, peer: str, connections: int) -> list[float]:
    """Ours through the peer's, round by round."""
    found: dict[tuple[str, int], float] = {
        (one.contestant, one.number): one.load.per_second for one in rounds if one.connections == connections
    }
    return [found[ours, number] / found[peer, number] for name, number in found if name == ours and number]


def speed_table(rounds: Sequence[Round]) -> Table:
    """Throughput and latency."""
    table = Table(
        title="Durable transfers over HTTP, one per request",
        caption="CPUs lost: busy with something else meanwhile. On a machine that is not quiet the figures say little.",
    )
    for column in ("connections", "contestant", "min /s", "median /s", "max /s", "p50 ms", "p99 ms", "CPUs lost"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for connections, name, group in _groups(rounds):
        speeds = [one.load.per_second for one in group]
        table.add_row(
            str(connections),
            name,
            *(f"{value:,.0f}" for value in (min(speeds), statistics.median(speeds), max(speeds))),
            f"{statistics.median(one.load.p50_ms for one in group):.1f}",
            f"{statistics.median(one.load.p99_ms for one in group):.1f}",
            f"{statistics.median(one.others for one in group):.2f}",
        )
    return table


def cpu_table(rounds: Sequence[Round]) -> Table:
    """Where the time goes."""
    table = Table(title="CPU per transfer, µs (median of the rounds)")
    table.add_column("connections", justify="right")
    table.add_column("contestant")
    for kind in (*KINDS, "all"):
        table.add_column(kind, justify="right")
    for connections, name, group in _groups(rounds):
        medians = [statistics.median(one.cpu_us.get(kind, 0.0) for one in group) for kind in KINDS]
        total = statistics.median(sum(one.cpu_us.values()) for one in group)
        table.add_row(str(connections), name, *(f"{value:.0f}" if value else "" for value in medians), f"{total:.0f}")
    return table


def _groups(rounds: Sequence[Round]) -> Iterable[tuple[int, str, list[Round]]]:
    counted = [one for one in rounds if one.number]
    for connections, name in dict.fromkeys((one.connections, one.contestant) for one in counted):
        yield connections, name, [one for one in counted if (one.connections, one.contestant) == (connections, name)]


def summary(rounds: Sequence[Round], options: argparse.Namespace) -> dict[str, Any]:
    """What is written down."""
    goals = []
    peers = [name for name in dict.fromkeys(one.contestant for one in rounds) if name != BitNexus.name]
    for connections, peer in itertools.product(options.connections, peers):
        found = ratios(rounds, BitNexus.name, peer, connections)
        goal = GOALS.get((connections, peer))
        median = statistics.median(found)
        goals.append(
            {
                "job": "one transfer per request",
                "connections": connections,
                "against": peer,
                "goal": goal,
                "median": median,
                "min": min(found),
                "max": max(found),
                "met": None if goal is None else median >= goal,
            }
        )
    return {
        "version": __version__,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "generator": generator(),
        "options": {"rounds": options.rounds, "seconds": options.seconds, "accounts": options.accounts},
        "goals": goals,
        "rounds": [asdict(one) | {"per_second": one.load.per_second} for one in rounds],
    }


async def measure(options: argparse.Namespace, console: Console) -> list[Round]:
    """Start everything, run all rounds, end everything."""
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory,
        EmbeddedPostgres(Path(directory, "postgresql")) as server,
    ):
        contestants: list[Contestant] = [
            BitNexus(Path(directory, "bitnexus"), server),
            AiohttpAsyncpg(Path(directory, "peer"), server),
            AiohttpAsyncpg(Path(directory, "peer_no_reset"), server, reset=False),
        ]
        try:
            bench = Bench(contestants, server, console)
            await bench.start(options.accounts)
            rounds: list[Round] = []
            for connections in options.connections:
                rounds += await bench.rounds(connections, options.rounds, options.seconds)
            return rounds
        finally:
            for contestant in contestants:
                contestant.stop()


def main() -> None:
    """Measure, print, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--connections", default=[64], type=lambda text: [int(part) for part in text.split(",")], help="as in 1,16,64"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each contestant's part of a round")
    parser.add_argument("--accounts", type=int, default=1000)
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(f"The load comes from {generator()}.")
    rounds = asyncio.run(measure(options, console))
    console.print(speed_table(rounds), cpu_table(rounds))
    results = summary(rounds, options)
    for goal in results["goals"]:
        verdict = "" if goal["goal"] is None else f" (goal {goal['goal']}: {'met' if goal['met'] else 'missed'})"
        console.print(
            f"{goal['connections']} connections: BitNexus makes {goal['median']:.2f} × the transfers of "
            f"{goal['against']}, {goal['min']:.2f} … {goal['max']:.2f} by round{verdict}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    complaints = [f"{one.contestant}, round {one.number}: {what}" for one in rounds for what in one.complaints]
    for complaint in complaints:
        console.print(complaint, style="bold red")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
