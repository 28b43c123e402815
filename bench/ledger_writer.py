"""Transfers per second through the ledger's writer alone: no HTTP, no partition, PostgreSQL with fsync.

Each of N clients posts one transfer after the other between random accounts, and waits for each to be durable:

    python bench/ledger_writer.py --clients 1 64 1000 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import random
import resource
import tempfile
import time
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from uuid import uuid4

import uvloop

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.ledger.commands import Command
from bitnexus.actors.ledger.writer import Writer
from bitnexus.actors.messages import OpenAccount, PostTransfer
from bitnexus.actors.runtime.message import Message
from bitnexus.errors import BitNexusError
from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres
from bitnexus.storage.ledger_writer import LedgerConnection

ASSET = "USD/2"


class Waiter:
    """A caller: one future per command."""

    __slots__ = ("future",)
    expired = False

    def __init__(self, future: asyncio.Future[Message]) -> None:
        self.future = future

    def reply(self, message: Message, /) -> None:
        """Wake the client."""
        self.future.set_result(message)

    def fail(self, error: BitNexusError, /) -> None:
        """Fail the client."""
        self.future.set_exception(error)


class Client:
    """Posts transfers until it is told to stop; counts them and their latencies in seconds."""

    def __init__(self, writer: Writer, accounts: list[str], user: str) -> None:
        self._writer, self._accounts, self._user = writer, accounts, user
        self.latencies_s: list[float] = []

    async def ask(self, command: Command) -> Message:
        """One command, to its answer."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._writer.submit(command, Waiter(future))
        return await future

    async def run(self, commands: Iterable[PostTransfer], stop_at: float) -> None:
        """Post them one by one until `stop_at` (of `time.perf_counter`)."""
        for command in commands:
            begun = time.perf_counter()
            if begun > stop_at:
                return
            await self.ask(command)
            self.latencies_s.append(time.perf_counter() - begun)
        raise RuntimeError("out of commands: the run was shorter than asked for")


def transfer(user: str, debit: str, credit: str, amount: int) -> PostTransfer:
    """A new transfer."""
    return PostTransfer(user, "user", str(uuid4()), debit, credit, amount, ASSET)


def any_transfer(user: str, accounts: list[str]) -> PostTransfer:
    """A new transfer between two of the accounts."""
    debit, credit = random.sample(accounts, 2)
    return transfer(user, debit, credit, 1)


def cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def baseline(seconds: float) -> float:
    """CPU seconds per command of the clients themselves: the same loop without a ledger."""

    class Echo:
        def submit(self, command: PostTransfer, caller: Waiter) -> None:
            asyncio.get_running_loop().call_soon(caller.reply, command)

    command = transfer(str(uuid4()), str(uuid4()), str(uuid4()), 1)
    clients = [Client(Echo(), [], "") for _ in range(64)]  # type: ignore[arg-type]
    before, stop_at = cpu_s(), time.perf_counter() + seconds
    await asyncio.gather(*(client.run(repeat(command), stop_at) for client in clients))
    return (cpu_s() - before) / sum(len(client.latencies_s) for client in clients)


async def measure(url: str, clients: int, seconds: float, accounts: int, *, profile: bool) -> None:
    """Print one row of the table."""
    writer = Writer(lambda: LedgerConnection.open(url))
    running = asyncio.create_task(writer.run())
    await writer.ready()
    user, world = str(uuid4()), world_account_id(ASSET)
    ids = [str(uuid4()) for _ in range(accounts)]
    first = Client(writer, ids, user)
    await asyncio.gather(*(first.ask(OpenAccount(id_, user, ASSET)) for id_ in ids))
    await asyncio.gather(*(first.ask(transfer(user, world, id_, 10**9)) for id_ in ids))
    people = [Client(writer, ids, user) for _ in range(clients)]
    # Made before the clock runs: making an id costs as much as deciding a transfer.
    most = int(60_000 * seconds / clients) + 100
    commands = [[any_transfer(user, ids) for _ in range(most)] for _ in people]
    profiler = cProfile.Profile()
    height = writer.head.height
    before, begun = cpu_s(), time.perf_counter()
    if profile:
        profiler.enable()
    await asyncio.gather(*(p.run(c, begun + seconds) for p, c in zip(people, commands, strict=True)))
    profiler.disable()
    elapsed, cpu = time.perf_counter() - begun, cpu_s() - before
    latencies = sorted(latency for person in people for latency in person.latencies_s)
    count, blocks = len(latencies), writer.head.height - height
    client_cpu = await baseline(0.3)
    print(
        f"{clients:>8} {count / elapsed:>12,.0f} {count / blocks:>12.1f} {latencies[count // 2] * 1e3:>9.2f} "
        f"{latencies[int(count * 0.99)] * 1e3:>9.2f} {(cpu / count - client_cpu) * 1e6:>14.1f} "
        f"{client_cpu * 1e6:>10.1f}",
        flush=True,
    )
    writer.stop()
    await running
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


async def main(options: argparse.Namespace, url: str) -> None:
    """Print the table."""
    await schema.migrate(url)
    print(
        f"{'clients':>8} {'transfers/s':>12} {'per block':>12} {'p50 ms':>9} {'p99 ms':>9} "
        f"{'writer CPU µs':>14} {'client µs':>10}"
    )
    for clients in options.clients:
        await measure(url, clients, options.seconds, options.accounts, profile=options.profile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 64, 1000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--url", help="a database of its own; default: an embedded server with fsync")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    if arguments.url:
        uvloop.run(main(arguments, arguments.url))
    else:
        with tempfile.TemporaryDirectory() as directory, EmbeddedPostgres(Path(directory)) as server:
            uvloop.run(main(arguments, server.url))
