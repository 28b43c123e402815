"""The ledger's writer alone, in this process: what a transfer costs it, and where (`bench.ledger --writer`)."""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import pstats
import resource
import time
from collections.abc import Callable
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from bench.ledger_load import (
    ASSET,
    USER,
    Asked,
    Load,
    WriterHere,
    load,
    made_before,
    open_accounts,
    writer_here,
)
from bitnexus.actors.messages import PostTransfer
from bitnexus.actors.runtime.message import Message
from bitnexus.identifiers import new_transfer_id


class Echo:
    """A ledger that does nothing: what the callers themselves cost."""

    async def ask(self, command: Asked, /) -> Message:
        """The command itself, in another turn of the loop."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, command)
        return await future


def cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def callers_cpu_s(batch: int) -> float:
    """CPU seconds per transfer of the callers."""
    one = PostTransfer(USER, "user", new_transfer_id(), str(uuid4()), str(uuid4()), 1, ASSET)
    before, stop_at = cpu_s(), time.perf_counter() + 0.3
    seen = await load(Echo(), itertools.repeat(one), callers=64, batch=batch, until=_at(stop_at))
    return (cpu_s() - before) / seen.transfers


async def table(options: argparse.Namespace, url: str, console: Console) -> None:
    """A row for each number of callers."""
    shown = Table(title=f"The writer alone, batches of {options.batch}")
    for column in ("callers", "transfers/s", "per block", "p50 ms", "p99 ms", "writer CPU µs", "callers' µs"):
        shown.add_column(column, justify="right")
    for callers in options.clients:
        async with writer_here(url) as ledger:
            shown.add_row(*await _row(ledger, callers, options))
    console.print(shown)


async def _row(ledger: WriterHere, callers: int, options: argparse.Namespace) -> list[str]:
    accounts = await open_accounts(ledger, options.accounts)
    made = made_before(accounts, options.batch, options.seconds)
    profiler = cProfile.Profile()
    height, before = ledger.writer.head.height, cpu_s()
    if options.profile:
        profiler.enable()
    stop_at = time.perf_counter() + options.seconds
    seen = await load(ledger, made, callers=callers, batch=options.batch, until=_at(stop_at))
    profiler.disable()
    cpu, blocks = cpu_s() - before, ledger.writer.head.height - height
    own = await callers_cpu_s(options.batch)
    if options.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    return [
        str(callers),
        f"{seen.per_second:,.0f}",
        f"{seen.transfers / blocks:,.1f}",
        f"{seen.latency_ms(0.5):.2f}",
        f"{seen.latency_ms(0.99):.2f}",
        f"{(cpu / seen.transfers - own) * 1e6:.1f}",
        f"{own * 1e6:.1f}",
    ]


def _at(stop_at: float) -> Callable[[Load], bool]:
    return lambda _: time.perf_counter() > stop_at
