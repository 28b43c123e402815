"""Who is measured: what a contestant is, and BitNexus as a user starts it. The peers are in `bench.http_peers`.

A contestant has a database of its own, and is started with the same users, accounts, money and earlier transfers as any
other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import aiohttp

from bench import requests as request_files
from bench.cpu import kind_of
from bench.generators import Load, load
from bench.servers import Server, ask, create_database
from bench.workloads import Holder, Population, Shape, Workload, history_of_pairs
from bitnexus.config import Settings
from bitnexus.http.client import Client
from tests.customers import Customer, Teller, session_with
from tests.running import RunningService, free_port

#: In minor units: far more than a run can move.
FUNDS: Final = 1_000_000_000
_AT_ONCE: Final = 8
_BATCH: Final = 1_000

T = TypeVar("T")


class Contestant(Protocol):
    """Somebody who takes transfers."""

    name: str

    async def start(self) -> None:
        """Start it, with its users and their money."""

    async def load(self, workload: Workload, prefix: str, *, connections: int, seconds: int) -> Load:
        """Load it; `prefix` makes the keys unique among all runs."""

    def kinds(self) -> Mapping[int, str]:
        """What its processes are, by their ids; without PostgreSQL's."""

    async def recorded(self) -> int:
        """How many transfers between users its database holds."""

    async def surplus(self) -> int:
        """The sum of all balances, less what it has to be."""

    def stop(self) -> None:
        """End it."""


class OverHttp:
    """What contestants with a port have in common: how they are loaded."""

    def __init__(self, directory: Path, port: int) -> None:
        directory.mkdir()
        self._directory = directory
        self._files: dict[str, Path] = {}
        self.port = port
        self.population: Population

    async def load(self, workload: Workload, prefix: str, *, connections: int, seconds: int) -> Load:
        """See `Contestant`; the requests are made at the first time."""
        if (file := self._files.get(workload.name)) is None:
            file = self._directory / f"{workload.name}.requests"
            request_files.write(file, workload.for_population(self.population))
            self._files[workload.name] = file
        return await load(self.port, file, prefix, connections=connections, seconds=seconds)


class BitNexus(OverHttp):
    """The service itself, with its settings as they are by default, but for the rate limits."""

    name = "BitNexus"

    def __init__(self, directory: Path, server: Server, shape: Shape, *, database: str = "bitnexus_bench") -> None:
        super().__init__(directory, free_port())
        self._url = server.url_of(database)
        self._server, self._shape = server, shape
        (directory / "service").mkdir()
        self.service = self._service({})

    def _service(self, environment: Mapping[str, str]) -> RunningService:
        # The tests' service has a number of partitions of its own.
        partitions = Settings.model_fields["partitions"]
        given = {"DATABASE_URL": self._url, str(partitions.validation_alias): str(partitions.default)}
        return RunningService(self._directory / "service", {**given, **environment}, port=self.port)

    async def start(self) -> None:
        """Start it; users, accounts, money and transfers come through its API."""
        await create_database(self._server, self._url)
        await asyncio.to_thread(self.service.start)
        async with session_with(self.service) as session:
            teller = await Teller.begin(self.service, session)
            customers = await teller.customers(self._shape.users, funds=0)
            holders = [await self._open_accounts(session, customer) for customer in customers]
            for some in _in_parts([account for holder in holders for account in holder.accounts]):
                await teller.fund(some, FUNDS)
            self.population = Population(holders, await self._post_history(session, holders))

    async def restart(self, environment: Mapping[str, str]) -> None:
        """Stop it in order and start it with further settings, which are then not the default any more."""
        self.service.process.terminate()
        await asyncio.to_thread(self.service.wait)
        self.service.close()
        self.service = self._service(environment)
        await asyncio.to_thread(self.service.start)

    async def _open_accounts(self, session: aiohttp.ClientSession, customer: Customer) -> Holder:
        slots, api = asyncio.Semaphore(_AT_ONCE), _client(session, customer.token)

        async def one() -> str:
            async with slots:
                return (await api.accounts.open()).id

        further = await asyncio.gather(*(one() for _ in range(self._shape.accounts_each - 1)))
        return Holder(customer.token, [customer.account_id, *further])

    async def _post_history(self, session: aiohttp.ClientSession, holders: list[Holder]) -> list[tuple[str, str]]:
        owned = Population(holders, ()).owned()
        asked: dict[str, list[dict[str, Any]]] = {holder.token: [] for holder in holders}
        for debit, credit, amount in history_of_pairs(self._shape):
            token, account = owned[debit]
            fields = {"debit_account_id": account, "credit_account_id": owned[credit][1], "amount": amount}
            asked[token].append(fields)
        found = []
        for token, items in asked.items():
            for some in _in_parts(items):
                batch = await _client(session, token).transactions.batch(some)
                if batch.refused:
                    raise AssertionError(f"{batch.refused} of the first transfers were refused")
                found += [(token, result.id) for result in batch.results]
        return found

    def kinds(self) -> Mapping[int, str]:
        """By the names in the tree."""
        return {pid: kind_of(name) for pid, name in self.service.names().items()}

    async def recorded(self) -> int:
        """All transfers but the funding."""
        world = "SELECT id FROM ledger_accounts WHERE owner_id IS NULL"
        query = f"SELECT count(*) FROM ledger_transfers WHERE refusal IS NULL AND debit_account_id NOT IN ({world})"
        return int(await ask(self._url, query))

    async def surplus(self) -> int:
        """All money comes from the world account."""
        return int(await ask(self._url, "SELECT sum(credits_posted - debits_posted)::bigint FROM ledger_accounts"))

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self.service.close()


def _client(session: aiohttp.ClientSession, token: str) -> Client:
    return Client("", tokens=token, session=session)  # the session knows the address


def _in_parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
