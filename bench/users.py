"""Many users in one partition: memory, cold activations, and what a hot user does to the others.

    python -m bench.users [--users 200000] [--limited 1] [--rounds 5] [--seconds 4] [--quick]

The tree is that of the service without fronts: a ledger, the notifier and one partition, each a process of its own, and
a PostgreSQL that keeps every promise; this process asks as a front does. It opens the accounts through the ledger, then
has every user activated once, by a transfer that the user's actor itself refuses: nothing but the activation is
measured. A part of the users (`--limited`, in percent) has limits, so that the day's total is read for them.

Then the latency of transfers, round by round in two forms that take turns: the load spread evenly over 1,000 users, and
half of it one user's. What is compared is the 99th percentile of all others, with so many callers in both forms: the
ratio within a round says something, for the same code varies by half between minutes.

Goals are judged for 200,000 users and more. Exit code 1 when one is missed, or when not everybody became active.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.ledger_load import ASSET, LEDGER, NOTIFIER, USER, check
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import (
    GetMetrics,
    Metrics,
    OpenAccount,
    PostTransfer,
    PostTransfers,
    TransferRequest,
    TransferResult,
)
from bitnexus.actors.runtime.message import Message
from bitnexus.config import Settings, use
from bitnexus.errors import NotFound
from bitnexus.identifiers import new_transfer_id
from bitnexus.storage import migrator
from bitnexus.storage.embedded import EmbeddedPostgres
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

PARTITION: Final = "transactions-0"
FULL: Final = 200_000
QUICK: Final = 10_000
#: Users among whom the load is spread, and who are asked for transfers at a time.
SPREAD: Final = 1_000
CALLERS: Final = 64
#: Activations asked for at a time: as many fronts would ask in a storm.
STORM: Final = 2_000
PAGE: Final = 2_000
FUNDS: Final = 10**9
TIMEOUT_S: Final = 60.0
_MB: Final = 1000 * 1000
GOAL_BYTES: Final = 600 * _MB
GOAL_PER_SECOND: Final = 1_000
GOAL_RATIO: Final = 2.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A user with one account."""

    user_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; `met` None: not judged."""

    title: str
    value: str
    goal: str
    met: bool | None


class Node:
    """The tree, asked over its connections as a front asks it."""

    def __init__(self, launcher: Launcher) -> None:
        self._node = launcher.node
        self.loop = launcher.loop

    async def ask(self, name: str, message: Message) -> Message:
        """The answer of a process."""
        return await self._node.call(name, message, timeout_s=TIMEOUT_S)

    def rss(self) -> int:
        """Bytes that the partition has resident."""
        info = self._node.whereis(PARTITION)
        assert info is not None
        return int(psutil.Process(info.pid).memory_info().rss)

    async def metric(self, name: str) -> int:
        """One of the partition's metrics."""
        answer = await self.ask(PARTITION, GetMetrics())
        assert isinstance(answer, Metrics)
        (line,) = (line for line in answer.text.splitlines() if line.startswith(f"{name} "))
        return int(float(line.split()[-1]))


@contextmanager
def tree(url: str, directory: Path) -> Iterator[Node]:
    """Ledger, notifier and one partition for this block. Nobody is passivated meanwhile."""
    settings = Settings(
        profile="test", data_dir=directory, log_format="json", log_level="error", database_url=url, user_idle_s=86_400
    )
    use(settings)
    starts = {
        LEDGER: "bitnexus.actors.ledger.actor:Ledger",
        NOTIFIER: "bitnexus.actors.notifier.actor:Notifier",
        PARTITION: "bitnexus.actors.transactions.partition:Partition",
    }
    children = [ChildSpec(name, ProcessStart(path)) for name, path in starts.items()]
    launcher = Launcher("bitnexus", SupervisorFlags(), children)
    launcher.start()
    try:
        yield Node(launcher)
    finally:
        launcher.loop.run_until_complete(launcher.stop(10))


async def open_accounts(node: Node, count: int, console: Console) -> list[Owner]:
    """So many users with an account; the first `SPREAD` have funds."""
    owners = [Owner(str(uuid4()), str(uuid4())) for _ in range(count)]
    pages = range(0, count, PAGE)
    for at in track(pages, "accounts", console=console, disable=not console.is_terminal):
        page = owners[at : at + PAGE]
        opened = [node.ask(LEDGER, OpenAccount(owner.account_id, owner.user_id, ASSET)) for owner in page]
        await asyncio.gather(*opened)
    world = world_account_id(ASSET)
    rich = owners[:SPREAD]
    funding = [TransferRequest(new_transfer_id(), world, owner.account_id, FUNDS, ASSET) for owner in rich]
    check(await node.ask(LEDGER, PostTransfers(USER, "admin", funding)))
    return owners


async def limit(url: str, owners: Sequence[Owner]) -> None:
    """Give these users limits that they will not reach; none of them can log in."""
    ids = [owner.user_id for owner in owners]
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO users (id, email, name, password_hash) "
            "SELECT id, id || '@example.com', '', '!' FROM unnest($1::uuid[]) AS id",
            ids,
        )
        await connection.execute(
            "INSERT INTO user_limits (user_id, asset, per_transfer, per_day, version, set_by) "
            "SELECT id, $2, $3, $3, nextval('user_limits_version'), id FROM unnest($1::uuid[]) AS id",
            ids,
            ASSET,
            2**53 - 1,
        )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def activate(node: Node, owners: Sequence[Owner], at_once: int) -> tuple[float, list[float]]:
    """Have every one of them activated; the seconds in all, and those that each waited."""
    left, waited = iter(owners), []

    async def caller() -> None:
        for owner in left:
            asked_at = time.perf_counter()
            try:
                await node.ask(
                    PARTITION, PostTransfer(owner.user_id, "user", new_transfer_id(), USER, owner.account_id, 1, ASSET)
                )
            except NotFound:
                waited.append(time.perf_counter() - asked_at)
            else:
                raise RuntimeError("a transfer from an account of nobody was not refused")

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(caller())
    return time.perf_counter() - begun, waited


async def transfers(node: Node, owners: Sequence[Owner], seconds: float, *, hot: Owner | None) -> list[float]:
    """The latencies of the users among whom the load is spread, while half of the callers are the hot user, if any."""
    pick, stop_at = random.Random().sample, time.perf_counter() + seconds
    latencies: list[float] = []

    async def caller(payer: Callable[[], tuple[Owner, Owner]], seen: list[float]) -> None:
        while time.perf_counter() < stop_at:
            debit, credit = payer()
            command = PostTransfer(
                debit.user_id, "user", new_transfer_id(), debit.account_id, credit.account_id, 1, ASSET
            )
            asked_at = time.perf_counter()
            answer = await node.ask(PARTITION, command)
            seen.append(time.perf_counter() - asked_at)
            assert isinstance(answer, TransferResult)
            check(answer)

    def anybody() -> tuple[Owner, Owner]:
        debit, credit = pick(owners, 2)
        return debit, credit

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            if hot is not None and number % 2:
                group.create_task(caller(lambda: (hot, pick(owners, 1)[0]), []))
            else:
                group.create_task(caller(anybody, latencies))
    return latencies


def part(latencies: Sequence[float], share: float) -> float:
    """The latency, in ms, that this share of them did not exceed."""
    ordered = sorted(latencies)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


async def measure(node: Node, url: str, options: argparse.Namespace, console: Console) -> list[Result]:
    """All of it."""
    owners = await open_accounts(node, options.users, console)
    limited = owners[:: 100 // options.limited] if options.limited else []
    await limit(url, limited)
    judged = options.users >= FULL
    empty = node.rss()
    with console.status("activations"):
        seconds, waited = await activate(node, owners, STORM)
    per_second, rss, active = len(owners) / seconds, node.rss(), await node.metric("bitnexus_users_active")
    per_query = len(owners) / await node.metric("bitnexus_users_loads_total")
    results = [
        Result("users active", f"{active:,} of {len(owners):,}", "all", active == len(owners)),
        Result("of these with limits", f"{len(limited):,}", "", None),
        Result("partition, resident MB", f"{rss / _MB:.0f}", "≤ 600", rss <= GOAL_BYTES if judged else None),
        Result("before, with nobody active, MB", f"{empty / _MB:.0f}", "", None),
        Result("bytes per active user", f"{(rss - empty) / len(owners):.0f}", "", None),
        Result(
            "cold activations/s", f"{per_second:,.0f}", "≥ 1,000", per_second >= GOAL_PER_SECOND if judged else None
        ),
        Result("users read by one query, on average", f"{per_query:.0f}", "", None),
        Result(
            f"with {STORM:,} waiting, p50 and p99 ms", f"{part(waited, 0.5):.0f}, {part(waited, 0.99):.0f}", "", None
        ),
    ]
    return results + await with_hot_user(node, owners, options, console)


async def with_hot_user(
    node: Node, owners: Sequence[Owner], options: argparse.Namespace, console: Console
) -> list[Result]:
    """The latencies of the others, beside those of the even load."""
    spread, hot = owners[1:SPREAD], owners[0]
    await transfers(node, spread, 1.0, hot=None)
    found: list[tuple[float, float]] = []
    for number in range(options.rounds):
        with console.status(f"round {number + 1} of {options.rounds}"):
            even = part(await transfers(node, spread, options.seconds, hot=None), 0.99)
            others = part(await transfers(node, spread, options.seconds, hot=hot), 0.99)
        found.append((even, others))
    ratios = [others / even for even, others in found]
    ratio = statistics.median(ratios)
    evens, beside = zip(*found, strict=True)
    return [
        Result("even load, p99 ms", f"{statistics.median(evens):.1f}", "", None),
        Result("beside a hot user, p99 ms of the others", f"{statistics.median(beside):.1f}", "", None),
        Result(
            "ratio within a round", f"{ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f})", "≤ 2", ratio <= GOAL_RATIO
        ),
    ]


def table(results: Sequence[Result]) -> Table:
    """What was found."""
    shown = Table(title="Many users in one partition")
    shown.add_column("", no_wrap=True)
    for column in ("measured", "goal", "met"):
        shown.add_column(column, justify="right", no_wrap=True)
    verdicts = {True: "yes", False: "[bold red]no[/]", None: ""}
    for result in results:
        shown.add_row(result.title, result.value, result.goal, verdicts[result.met])
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=FULL)
    parser.add_argument("--limited", type=int, default=1, choices=(0, 1, 2, 5, 10, 20, 50, 100), metavar="PERCENT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each form in a round")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} users and one short round")
    options = parser.parse_args()
    if options.quick:
        options.users, options.rounds, options.seconds = min(options.users, QUICK), 1, 1.0
    if options.users < SPREAD:
        parser.error(f"at least {SPREAD:,} users are needed")
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory,
        EmbeddedPostgres(Path(directory, "postgresql")) as server,
    ):
        migrator.migrate(server.url)
        with tree(server.url, Path(directory, "var")) as node:
            results = node.loop.run_until_complete(measure(node, server.url, options, console))
    console.print(table(results))
    sys.exit(1 if any(result.met is False for result in results) else 0)


if __name__ == "__main__":
    main()
