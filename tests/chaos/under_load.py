"""What tests of single faults share: a service with clients at work, and the judgement of what they were told."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bitnexus.storage.embedded import borrow
from tests.chaos.asking import Asker, Tally
from tests.chaos.checks import check
from tests.chaos.history import Books, History, Violation
from tests.chaos.load import Batcher, Buyer, Client, Payer, Reader, Reserver
from tests.chaos.report import in_words
from tests.chaos.verdict import read_books
from tests.customers import Teller, session_with
from tests.integration import ledger_harness
from tests.running import RunningService

KINDS: Final[tuple[type[Client], ...]] = (
    *(Payer,) * 16, *(Reserver,) * 2, *(Buyer,) * 2, Batcher, Reader
)  # fmt: skip
FUNDS: Final = 10_000_000
STOCK: Final = 10**9
PAUSE_S: Final = 0.001


async def clients_of(service: RunningService, tally: Tally, history: History) -> list[Client]:
    """Clients with accounts, funds and a shop."""
    async with session_with(service) as session:
        teller = await Teller.begin(service, session)
        customers = await teller.customers(len(KINDS), funds=FUNDS)
        for_sale = await teller.product("MUG", price=7, stock=STOCK)
    clients = []
    for number, (kind, customer) in enumerate(zip(KINDS, customers, strict=True)):
        others = [other for other in customers if other is not customer]
        asker = Asker(f"{kind.__name__}-{number}", service.port, tally)
        clients.append(kind(customer, others, asker, history, random.Random()))
        if isinstance(clients[-1], Buyer):
            clients[-1].product_id = for_sale
    return clients


@asynccontextmanager
async def at_work(clients: list[Client], pause_s: float = PAUSE_S) -> AsyncIterator[list[asyncio.Task[None]]]:
    """They work; at the end of the block they finish what they have begun, unless somebody has cancelled them."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(client.run(stop, pause_s)) for client in clients]
    try:
        yield tasks
    finally:
        stop.set()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


async def judge(service: RunningService, history: History) -> tuple[list[Violation], Books]:
    """After the service has been stopped: what is wrong, and the ledger."""
    with borrow(service.data_dir) as url:
        await ledger_harness.audit(url)
        books = await read_books(url)
    return check(history, books), books


def troubles(tally: Tally) -> list[str]:
    """All that went wrong for the clients, in words."""
    return [*tally.unanswered, *(in_words(trouble, []) for trouble in tally.troubles)]


async def operate(service: RunningService, verb: str, path: str, *options: str) -> dict[str, Any]:
    """What ``bitnexus VERB PATH --json`` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bitnexus", verb, path, "--json", *options),
        env=service.environment,
        cwd=service.directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    answer: dict[str, Any] = json.loads(printed)
    return answer
