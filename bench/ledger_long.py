"""Millions of transfers into one ledger (`bench.ledger --long`): does anything grow with the log that must not?

Along the way, at equal steps: the rate; the memory of the ledger's process; how long a successor would take to be ready
(connect, read the head, check its peaks). And at some of them `bitnexus ledger verify`, in a process of its own: its
time per event and its memory. At the end the ledger is killed and the time until it answers again is taken; and the
ledger is exported and verified from the file.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from bench.ledger_load import LedgerProcess, Load, callers_for, commands, ledger_process, load, open_accounts
from bitnexus.actors.ledger.stored import head_of
from bitnexus.actors.messages import GetHead, Head
from bitnexus.storage import migrator
from bitnexus.storage.embedded import EmbeddedPostgres
from bitnexus.storage.ledger_writer import LedgerConnection
from tests.running import ROOT

STEPS: Final = 20
BATCH: Final = 1_000
CALLERS: Final = callers_for(BATCH)
#: At these steps everything is verified.
VERIFIED_AT: Final = (1, 2, 5, 10, 20)
#: From here on the ledger's memory must be flat: its cache of results is full, and so are the allocator's pools.
WARM: Final = 0.2
MAX_GROWTH: Final = 1.15
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen after so many transfers; verification as of `bitnexus ledger verify`, None if there was none."""

    transfers: int
    per_second: float
    ledger_rss_mb: float
    reload_ms: float
    database_mb: float
    verify_s: float | None = None
    verify_rss_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """A command of the product: seconds, the most memory it took, and what it printed."""

    seconds: float
    rss_mb: float
    output: str


def measure(transfers: int, accounts: int, console: Console, write: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run it, show it, have it written down after each step."""
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as name,
        EmbeddedPostgres(Path(name, "postgresql")) as server,
    ):
        migrator.migrate(server.url)
        with ledger_process(server.url, Path(name, "var")) as ledger:
            long = _Long(ledger, server.url, Path(name), console)
            return ledger.loop.run_until_complete(long.run(transfers, accounts, write))


class _Long:
    def __init__(self, ledger: LedgerProcess, url: str, directory: Path, console: Console) -> None:
        self._ledger, self._url, self._directory, self._console = ledger, url, directory, console
        self._steps: list[Step] = []

    async def run(self, transfers: int, accounts: int, write: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        made = commands(await open_accounts(self._ledger, accounts), BATCH)
        size, done = max(CALLERS * BATCH, transfers // STEPS), 0

        def is_over(seen: Load) -> bool:
            return seen.transfers + (CALLERS - 1) * BATCH >= size

        for number in range(1, STEPS + 1):
            with self._console.status(f"{done:,} of {transfers:,} transfers"):
                seen = await load(self._ledger, made, callers=CALLERS, batch=BATCH, until=is_over)
                done += seen.transfers
                self._steps.append(await self._step(done, seen.per_second, verified=number in VERIFIED_AT))
            self._console.print(_line(self._steps[-1]))
            write(self._results({}))
        with self._console.status("the end"):
            results = self._results(await self._end())
        self._console.print(_table(self._steps))
        for name, value in results["end"].items():
            self._console.print(f"{name}: {value:,.3f}")
        for complaint in results["complaints"]:
            self._console.print(complaint, style="bold red")
        write(results)
        return results

    async def _step(self, done: int, rate: float, *, verified: bool) -> Step:
        rss_mb = psutil.Process(self._ledger.pid).memory_info().rss / _MB
        reload_ms = statistics.median([await self._reload_ms() for _ in range(5)])
        db = await asyncpg.connect(self._url)
        try:
            database_mb = await db.fetchval("SELECT pg_database_size(current_database())") / _MB
        finally:
            await db.close()
        ran = await self._command("verify", "--json") if verified else None
        if ran is None:
            return Step(done, rate, rss_mb, reload_ms, database_mb)
        return Step(done, rate, rss_mb, reload_ms, database_mb, ran.seconds, ran.rss_mb)

    async def _reload_ms(self) -> float:
        """What a starting ledger does before it takes commands."""
        begun = time.perf_counter()
        db = await LedgerConnection.open(self._url)
        try:
            row, _ = await db.start()
            assert head_of(row).tree.size > 0
            return (time.perf_counter() - begun) * 1000
        finally:
            db.abort()

    async def _end(self) -> dict[str, float]:
        """A restart as it happens, and the export."""
        head = await self._ledger.ask(GetHead())
        os.kill(self._ledger.pid, signal.SIGKILL)
        begun = time.perf_counter()
        again = await self._ledger.ask(GetHead(), retry=True)
        restart_ms = (time.perf_counter() - begun) * 1000
        assert isinstance(head, Head)
        if again != head:
            raise RuntimeError(f"the ledger came back with {again}, not {head}")
        file = self._directory / "export.zst"
        export, verify = await self._command("export", str(file)), await self._command("verify", "--json", str(file))
        events = head.tree_size
        return {
            "killed, answers again after ms": restart_ms,
            "export µs per event": export.seconds / events * 1e6,
            "export MB of memory": export.rss_mb,
            "export MB": file.stat().st_size / _MB,
            "verify FILE µs per event": verify.seconds / events * 1e6,
            "verify FILE MB of memory": verify.rss_mb,
        }

    async def _command(self, *arguments: str) -> Ran:
        """`bitnexus ledger …`, in a process of its own."""
        environment = os.environ | {
            "DATABASE_URL": self._url,
            "PYTHONPATH": str(ROOT),
            "BITNEXUS_PROFILE": "test",
            "BITNEXUS_DATA_DIR": str(self._directory / "var"),
        }
        return await asyncio.to_thread(_run, [sys.executable, "-m", "bitnexus", "ledger", *arguments], environment)

    def _results(self, end: dict[str, float]) -> dict[str, Any]:
        return {"steps": [asdict(step) for step in self._steps], "end": end, "complaints": _complaints(self._steps)}


def _run(command: list[str], environment: dict[str, str]) -> Ran:
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        told.seek(0)
        output = told.read()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output[-2000:]}")
    return Ran(seconds, usage.ru_maxrss * 1024 / _MB, output)


def _complaints(steps: list[Step]) -> list[str]:
    """What has grown with the log though it must not."""
    warm = steps[int(STEPS * WARM) :]
    found = []
    if warm and warm[-1].ledger_rss_mb > warm[0].ledger_rss_mb * MAX_GROWTH:
        found.append(f"the ledger's memory grew from {warm[0].ledger_rss_mb:.0f} to {warm[-1].ledger_rss_mb:.0f} MB")
    verified = [step for step in steps if step.verify_rss_mb is not None]
    first, last = (verified[0].verify_rss_mb, verified[-1].verify_rss_mb) if verified else (None, None)
    if first and last and last > first * MAX_GROWTH:
        found.append(f"the memory of a verification grew from {first:.0f} to {last:.0f} MB")
    return found


def _cells(step: Step) -> list[str]:
    verify_us = None if step.verify_s is None else step.verify_s / step.transfers * 1e6
    return [
        f"{step.transfers:,}",
        f"{step.per_second:,.0f}",
        f"{step.ledger_rss_mb:.1f}",
        f"{step.reload_ms:.1f}",
        f"{step.database_mb:,.0f}",
        "" if step.verify_s is None else f"{step.verify_s:.1f}",
        "" if verify_us is None else f"{verify_us:.1f}",
        "" if step.verify_rss_mb is None else f"{step.verify_rss_mb:.0f}",
    ]


_COLUMNS: Final = (
    "transfers",
    "/s in this step",
    "ledger RSS MB",
    "reload ms",
    "database MB",
    "verify s",
    "µs per event",
    "verify RSS MB",
)


def _line(step: Step) -> str:
    return ", ".join(f"{name} {cell}" for name, cell in zip(_COLUMNS, _cells(step), strict=True) if cell)


def _table(steps: list[Step]) -> Table:
    shown = Table(title=f"One ledger, batches of {BATCH:,} from {CALLERS} callers")
    for column in _COLUMNS:
        shown.add_column(column, justify="right")
    for step in steps:
        shown.add_row(*_cells(step))
    return shown
