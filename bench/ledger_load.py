"""Transfers for a ledger, one by one or in batches: who asks, and the two places where a ledger can be asked."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.ledger.writer import Writer
from bitnexus.actors.messages import OpenAccount, PostTransfer, PostTransfers, TransferRequest, TransferResult
from bitnexus.actors.runtime.message import Message
from bitnexus.config import Settings, use
from bitnexus.errors import BitNexusError
from bitnexus.identifiers import new_transfer_id
from bitnexus.storage.ledger_writer import LedgerConnection
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

ASSET: Final = "USD/2"
USER: Final = str(uuid4())
FUNDS: Final = 10**12
LEDGER: Final = "ledger"
NOTIFIER: Final = "notifier"
#: Transfers that are asked for at a time, over all callers; the ledger lets 32,768 wait.
IN_FLIGHT: Final = 16_384
MOST_CALLERS: Final = 64
LIKELY_PER_SECOND: Final = 100_000
_TIMEOUT_S: Final = 60.0


#: What it is asked here.
Asked = PostTransfer | PostTransfers | OpenAccount


class Ledger(Protocol):
    """Who can be asked."""

    async def ask(self, command: Asked, /) -> Message:
        """The answer to a command, once it is durable."""


class WriterHere:
    """The writer alone, in this process: no messages, no partition."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    async def ask(self, command: Asked, /) -> Message:
        """See `Ledger`."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.writer.submit(command, _Waiter(future))
        return await future


class _Waiter:
    """A caller: one future per command."""

    __slots__ = ("future",)
    expired = False

    def __init__(self, future: asyncio.Future[Message]) -> None:
        self.future = future

    def reply(self, message: Message, /) -> None:
        self.future.set_result(message)

    def fail(self, error: BitNexusError, /) -> None:
        self.future.set_exception(error)


@asynccontextmanager
async def writer_here(url: str) -> AsyncIterator[WriterHere]:
    """A writer for this block."""
    writer = Writer(lambda: LedgerConnection.open(url))
    running = asyncio.create_task(writer.run())
    try:
        await writer.ready()
        yield WriterHere(writer)
    finally:
        writer.stop()
        await running


class LedgerProcess:
    """The actor in its own process, asked over the node's connections as a partition asks it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """On which it is to be asked."""
        return self._launcher.loop

    @property
    def pid(self) -> int:
        """The ledger's process."""
        return self.pid_of(LEDGER)

    def pid_of(self, name: str) -> int:
        """The process that holds the name now."""
        info = self._launcher.node.whereis(name)
        assert info is not None
        return info.pid

    async def ask(self, command: Message, /, *, retry: bool = False) -> Message:
        """See `Ledger`."""
        return await self._launcher.node.call(LEDGER, command, timeout_s=_TIMEOUT_S, retry=retry)


@contextmanager
def ledger_process(url: str, directory: Path) -> Iterator[LedgerProcess]:
    """A tree for this block: a ledger, and the notifier that hears of its blocks. Needs a process without a loop."""
    settings = Settings(profile="test", data_dir=directory, log_format="json", log_level="error", database_url=url)
    use(settings)
    children = [
        ChildSpec(LEDGER, ProcessStart("bitnexus.actors.ledger.actor:Ledger")),
        ChildSpec(NOTIFIER, ProcessStart("bitnexus.actors.notifier.actor:Notifier")),
    ]
    launcher = Launcher("bitnexus", SupervisorFlags(), children)
    launcher.start()
    try:
        yield LedgerProcess(launcher)
    finally:
        launcher.loop.run_until_complete(launcher.stop(10))


async def open_accounts(ledger: Ledger, count: int) -> list[str]:
    """So many funded accounts."""
    ids = [str(uuid4()) for _ in range(count)]
    world = world_account_id(ASSET)
    for at in range(0, count, 1_000):
        page = ids[at : at + 1_000]
        await asyncio.gather(*(ledger.ask(OpenAccount(id_, USER, ASSET)) for id_ in page))
        funding = [TransferRequest(new_transfer_id(), world, id_, FUNDS, ASSET) for id_ in page]
        check(await ledger.ask(PostTransfers(USER, "admin", funding)))
    return ids


def commands(accounts: Sequence[str], batch: int) -> Iterator[PostTransfer | PostTransfers]:
    """Transfers between random accounts, without an end: single ones, or batches."""
    pick = random.Random().sample
    while True:
        if batch == 1:
            debit, credit = pick(accounts, 2)
            yield PostTransfer(USER, "user", new_transfer_id(), debit, credit, 1, ASSET)
        else:
            pairs = [pick(accounts, 2) for _ in range(batch)]
            requests = [TransferRequest(new_transfer_id(), debit, credit, 1, ASSET) for debit, credit in pairs]
            yield PostTransfers(USER, "user", requests, brief=True)


def made_before(accounts: Sequence[str], batch: int, seconds: float) -> Iterator[PostTransfer | PostTransfers]:
    """As `commands`; those that are likely to be needed are made now: to make an id costs a tenth of a transfer."""
    endless = commands(accounts, batch)
    return itertools.chain(list(itertools.islice(endless, int(LIKELY_PER_SECOND * seconds / batch) + 1)), endless)


def callers_for(batch: int) -> int:
    """How many callers keep a ledger busy without having it refuse them."""
    return max(2, min(MOST_CALLERS, IN_FLIGHT // batch))


@dataclass(slots=True)
class Load:
    """What the callers saw; latencies in seconds, of a whole batch."""

    transfers: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Transfers per second."""
        return self.transfers / self.seconds

    def latency_ms(self, part: float) -> float:
        """The latency that this part of the answers did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1000


async def load(
    ledger: Ledger,
    made: Iterator[PostTransfer | PostTransfers],
    *,
    callers: int,
    batch: int,
    until: Callable[[Load], bool],
) -> Load:
    """Have so many callers ask, each for one command after the other, until `until` says that it is enough.

    Raises:
        RuntimeError: a transfer was refused.
    """
    seen = Load()
    begun = time.perf_counter()

    async def caller() -> None:
        for command in made:
            if until(seen):
                return
            asked_at = time.perf_counter()
            check(await ledger.ask(command))
            now = time.perf_counter()
            seen.latencies_s.append(now - asked_at)
            seen.transfers += batch
            seen.seconds = now - begun

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return seen


def check(answer: Message) -> None:
    """Nothing may have been refused."""
    results: Sequence[Any] = [answer] if isinstance(answer, TransferResult) else getattr(answer, "results", ())
    refusals = {result.refusal for result in results if result.transfer is None}
    if refusals:
        raise RuntimeError(f"transfers were refused: {refusals}")
