"""An import of millions of lines into a whole service: its rate, and the memory of the command over the run.

    python -m bench.imports [--lines 5000000] [--batch-size 2000] [--accounts 900]

The file is written first (JSON Lines, transfers between random accounts); then the service runs as a user starts it, on
the embedded PostgreSQL, and ``bitnexus import`` reads the file in a process of its own, whose resident set is noted. It
must be flat: exit code 1 when it grows by more than 10 % after the first tenth of the run, or a line is not posted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from bench.cpu import snapshot
from bitnexus.actors.ledger.accounts import world_account_id
from tests.customers import Teller, session_with
from tests.running import RunningService

LOOK_EVERY_S: Final = 1.0
ROWS: Final = 20
MAY_GROW: Final = 1.1


def main() -> int:
    """Write the file, start the service, import, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--batch-size", type=int, default=2_000)
    parser.add_argument("--accounts", type=int, default=900)
    given = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory,
        RunningService(Path(directory), {"BITNEXUS_PARTITIONS": "1"}) as service,
    ):
        service.start()
        accounts = asyncio.run(_open_accounts(service, given.accounts))
        token = _token(service)
        file = Path(directory) / "transfers.jsonl"
        write_file(file, accounts, given.lines)
        console.print(f"{given.lines:,} lines, {file.stat().st_size / 1e6:,.0f} MB")
        before = snapshot(service.names())
        seconds, samples, summary = _import(service, token, file, given.batch_size)
        after = snapshot(service.names())
        service.process.terminate()
        service.wait()
    _show(console, samples)
    cpu = {name: round((after[name] - before.get(name, 0.0)) / given.lines * 1e6, 1) for name in after}
    console.print(f"{given.lines / seconds:,.0f} lines/s; CPU in µs per line: {cpu}")
    console.print(summary)
    settled = max(size for at, _, size in samples if at <= seconds / 10)
    most = max(size for _, _, size in samples)
    console.print(f"resident: {settled / 1e6:.1f} MB after a tenth, {most / 1e6:.1f} MB at most")
    return 0 if most <= settled * MAY_GROW and summary["posted"] == given.lines else 1


def write_file(path: Path, accounts: Sequence[str], lines: int) -> None:
    """Transfers out of the world account to random accounts, some back to it."""
    chance = random.Random(7)
    world = world_account_id("USD/2")
    with path.open("wb") as file:
        for number in range(lines):
            account = chance.choice(accounts)
            payer, payee = (account, world) if number > 10 * len(accounts) and number % 4 == 0 else (world, account)
            amount = 1 if payer == account else chance.randrange(100, 10_000)
            fields = {"debit_account_id": payer, "credit_account_id": payee, "amount": amount}
            file.write(orjson.dumps({**fields, "description": f"line {number}"}) + b"\n")


async def _open_accounts(service: RunningService, count: int) -> list[str]:
    async with session_with(service) as session:
        teller = await Teller.begin(service, session)
        return await teller.accounts(count)


def _token(service: RunningService) -> str:
    command = [sys.executable, "-m", "bitnexus", "user", "token", "--email", "operator@example.com"]
    done = subprocess.run(
        command, env=service.environment, cwd=service.directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _import(
    service: RunningService, token: str, file: Path, batch_size: int
) -> tuple[float, list[tuple[float, int, int]], dict[str, Any]]:
    """How long it took; (seconds, bytes read, resident bytes) over the run; the summary."""
    options = ("--url", service.address, "--json", "--batch-size", str(batch_size))
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bitnexus", "import", str(file), *options],
        env=service.environment | {"BITNEXUS_TOKEN": token},
        cwd=service.directory,
        stdout=subprocess.PIPE,
    )
    watched = psutil.Process(process.pid)
    samples: list[tuple[float, int, int]] = []
    while process.poll() is None:
        try:
            read, size = watched.io_counters().read_chars, watched.memory_info().rss
        except psutil.Error:
            break
        samples.append((time.monotonic() - started, read, size))
        time.sleep(LOOK_EVERY_S)
    out, _ = process.communicate()
    return time.monotonic() - started, samples, json.loads(out)


def _show(console: Console, samples: Sequence[tuple[float, int, int]]) -> None:
    table = Table("seconds", "read, MB", "resident, MB", title="bitnexus import", title_justify="left")
    for at, read, size in samples[:: max(1, len(samples) // ROWS)]:
        table.add_row(f"{at:.0f}", f"{read / 1e6:,.0f}", f"{size / 1e6:.1f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
