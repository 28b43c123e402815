"""What a front adds to bare aiohttp: GET /health and GET /users/me beside a handler that returns a constant.

    python -m bench.http [--rounds 5] [--seconds 5] [--connections 32]

One front, one bare process, one wrk, all on this machine. Rounds are interleaved, because the same code varies by half
between minutes: only the ratio within a round says something. CPU is that of the answering process per request, which
others on the machine disturb less. The token of /users/me is known to the front; the user is read from PostgreSQL each
time, as the service does. Results go to bench/results/http.json as well.

Exit code: 0, or 1 when a client saw an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.cpu import seconds_of
from bench.peers import bare_aiohttp
from bitnexus import __version__
from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres
from tests.customers import Teller, session_with
from tests.running import ROOT, RunningService, accepts_connections, free_port, wait_until

RESULTS: Final = Path(__file__).with_name("results") / "http.json"
#: How many times the requests a second of the bare handler.
GOAL: Final = 0.6
WARM_UP_S: Final = 2
START_TIMEOUT_S: Final = 30.0
_GRACE_S: Final = 60.0
_BARE: Final = "bare aiohttp"
_RATE: Final = re.compile(r"^Requests/sec:\s+([0-9.]+)", re.MULTILINE)
_TOTAL: Final = re.compile(r"^\s+([0-9]+) requests in ", re.MULTILINE)
_ERRORS: Final = re.compile(r"^\s+(?:Socket errors: .*|Non-2xx or 3xx responses: .*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, and which process answers."""

    name: str
    url: str
    pid: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One target's part of one round; `cpu_us` of the answering process, per request."""

    target: str
    round: int
    per_second: float
    cpu_us: float
    complaint: str


async def ask(target: Target, number: int, *, connections: int, seconds: int) -> Measured:
    """Load the target for so long.

    Raises:
        RuntimeError: the generator itself failed.
    """
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--header", f"Authorization: Bearer {target.token}"] if target.token else []
    before = seconds_of(target.pid)
    process = await asyncio.create_subprocess_exec(*command, target.url, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(seconds + _GRACE_S):
            output = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    rate, total, errors = _RATE.search(output), _TOTAL.search(output), _ERRORS.search(output)
    if process.returncode != 0 or rate is None or total is None:
        raise RuntimeError(f"wrk failed:\n{output}")
    cpu_us = (seconds_of(target.pid) - before) / max(1, int(total[1])) * 1e6
    return Measured(target.name, number, float(rate[1]), cpu_us, errors[0].strip() if errors else "")


async def rounds(targets: Sequence[Target], options: argparse.Namespace, console: Console) -> list[Measured]:
    """A warm-up for each, then A B C A B C …."""
    done = []
    for number in range(options.rounds + 1):
        for target in targets:
            with console.status(f"{target.name}: round {number} of {options.rounds} …"):
                seconds = options.seconds if number else WARM_UP_S
                measured = await ask(target, number, connections=options.connections, seconds=seconds)
            if number or measured.complaint:
                done.append(measured)
    return done


async def measure(options: argparse.Namespace, console: Console) -> list[Measured]:
    """Start everything, run all rounds, end everything."""
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory,
        EmbeddedPostgres(Path(directory, "postgresql")) as server,
    ):
        await schema.migrate(server.url)
        place = Path(directory, "bitnexus")
        place.mkdir()  # noqa: ASYNC240 - nothing else runs yet
        settings = {"DATABASE_URL": server.url, "BITNEXUS_FRONTS": "1", "BITNEXUS_RATE_LIMITS": "false"}
        service, port = RunningService(place, settings), free_port()
        command = [sys.executable, "-m", "bench.peers.bare_aiohttp", "--port", str(port)]
        bare = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - as above
        try:
            await asyncio.to_thread(service.start)
            await asyncio.to_thread(
                wait_until, lambda: accepts_connections(port), START_TIMEOUT_S, lambda: "no bare aiohttp"
            )
            async with session_with(service) as session:
                (customer,) = await (await Teller.begin(service, session)).customers(1, funds=0)
            front = service.pid_of("http-0")
            assert front is not None
            targets = [
                Target(_BARE, f"http://127.0.0.1:{port}{bare_aiohttp.PATH}", bare.pid),
                Target("GET /health", f"{service.address}/health", front),
                Target("GET /users/me", f"{service.address}/api/v1/users/me", front, customer.token),
            ]
            return await rounds(targets, options, console)
        finally:
            bare.terminate()
            bare.wait(START_TIMEOUT_S)
            service.close()


def ratios(measured: Sequence[Measured], name: str) -> list[float]:
    """The target's requests a second through the bare handler's, round by round."""
    found = {(one.target, one.round): one.per_second for one in measured}
    return [found[name, number] / found[_BARE, number] for target, number in found if target == name and number]


def report(measured: Sequence[Measured]) -> tuple[Table, list[dict[str, Any]]]:
    """The table, and whether the goals are met."""
    table = Table(title="Requests per second of one process, and its CPU per request")
    for column in ("target", "min /s", "median /s", "max /s", "CPU µs", "× bare: median", "by round"):
        table.add_column(column, justify="left" if column == "target" else "right")
    goals: list[dict[str, Any]] = []
    for name in dict.fromkeys(one.target for one in measured):
        of_it = [one for one in measured if one.target == name and one.round]
        speeds, found = [one.per_second for one in of_it], ratios(measured, name)
        median = statistics.median(found)
        table.add_row(
            name,
            *(f"{value:,.0f}" for value in (min(speeds), statistics.median(speeds), max(speeds))),
            f"{statistics.median(one.cpu_us for one in of_it):.0f}",
            f"{median:.2f}",
            f"{min(found):.2f} … {max(found):.2f}",
        )
        if name != _BARE:
            goals.append({"target": name, "goal": GOAL, "median": median, "met": median >= GOAL})
    return table, goals


def main() -> None:
    """Measure, print, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each target's part of a round")
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed, to take less of the CPU than what it asks")
    console = Console()
    if not console.is_terminal:
        console.width = 120
    measured = asyncio.run(measure(options, console))
    table, goals = report(measured)
    console.print(table)
    for goal in goals:
        verdict = "met" if goal["met"] else "missed"
        console.print(f"{goal['target']}: {goal['median']:.2f} × bare aiohttp (goal {GOAL}: {verdict})")
    results = {
        "version": __version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "goals": goals,
        "rounds": [asdict(one) for one in measured],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    complaints = [f"{one.target}, round {one.round}: {one.complaint}" for one in measured if one.complaint]
    for complaint in complaints:
        console.print(complaint, style="bold red")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
