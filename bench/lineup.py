"""The contestants by their names, each started when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.contestants import BitNexus, Contestant
from bench.generators import Load
from bench.http_peers import PEER_POOL_SIZE, PEER_PROCESSES, IndexedPeer, Peer
from bench.pgbench import PgBench, program
from bench.servers import Server, ask
from bench.workloads import Shape, Workload

OURS: Final = BitNexus.name
AIOHTTP: Final = "aiohttp + asyncpg"
AIOHTTP_FUNCTION: Final = "aiohttp + asyncpg, one function call"
AIOHTTP_UNRESET: Final = "aiohttp + asyncpg, one function call, pool without reset"
AIOHTTP_INDEXED: Final = "aiohttp + asyncpg, histories indexed"
FASTAPI: Final = "FastAPI + asyncpg"
_MOST_CLIENTS: Final = 64
#: PostgreSQL connections of the service, and what PostgreSQL keeps for itself.
_OTHERS: Final = 36


def pgbench_name(form: str, clients: int) -> str:
    """A pgbench contestant: its form (``statements``, ``function``) and its number of clients."""
    return f"pgbench, {form}, {clients} clients"


class PgBenchClients:
    """pgbench, which knows neither users nor HTTP; its clients are those of its name, whatever else is asked for."""

    def __init__(self, bench: SharedPgBench, form: str, clients: int) -> None:
        self.name = pgbench_name(form, clients)
        self._bench, self._form, self._clients = bench, form, clients

    async def start(self) -> None:
        """See `Contestant`."""
        await self._bench.start_once()

    async def load(self, workload: Workload, prefix: str, *, connections: int, seconds: int) -> Load:
        """See `Contestant`."""
        choice = "hot" if workload.name == "hot" else "any"
        ran = await self._bench.load(self._form, seconds, clients=self._clients, choice=choice)
        return Load(
            requests=ran.transfers,
            keyed=ran.transfers,
            seconds=ran.transfers / ran.per_second,
            p50_ms=ran.p50_ms,
            p90_ms=ran.p90_ms,
            p99_ms=ran.p99_ms,
            max_ms=ran.max_ms,
            errors={},
        )

    def kinds(self) -> Mapping[int, str]:
        """Nothing between its clients, which are the load, and PostgreSQL."""
        return {}

    async def recorded(self) -> int:
        """See `Contestant`."""
        return await self._bench.recorded()

    async def surplus(self) -> int:
        """See `Contestant`."""
        return await self._bench.surplus()

    def stop(self) -> None:
        """Nothing runs between the rounds."""


class SharedPgBench(PgBench):
    """One database for all its forms."""

    _started: asyncio.Task[str] | None = None

    async def start_once(self) -> None:
        """Start it, at the first call."""
        if self._started is None:
            self._started = asyncio.create_task(self.start())
        await self._started


class Lineup:
    """Who can be measured on this server."""

    def __init__(self, directory: Path, server: Server, shape: Shape) -> None:
        self._server = server
        if (path := program()) is None:
            raise RuntimeError("There is no pgbench on this machine.")
        pgbench = SharedPgBench(path, server, clients=_MOST_CLIENTS, accounts=shape.accounts)
        aiohttp, fastapi = "bench.peers.aiohttp_asyncpg", "bench.peers.fastapi_asyncpg"
        self._known: dict[str, Callable[[], Contestant]] = {
            OURS: lambda: BitNexus(directory / "bitnexus", server, shape),
            AIOHTTP: lambda: Peer(directory / "aiohttp", server, shape, AIOHTTP, [aiohttp]),
            AIOHTTP_FUNCTION: lambda: Peer(
                directory / "function", server, shape, AIOHTTP_FUNCTION, [aiohttp, "--function"]
            ),
            AIOHTTP_UNRESET: lambda: Peer(
                directory / "unreset", server, shape, AIOHTTP_UNRESET, [aiohttp, "--function", "--no-reset"]
            ),
            AIOHTTP_INDEXED: lambda: IndexedPeer(directory / "indexed", server, shape, AIOHTTP_INDEXED, [aiohttp]),
            FASTAPI: lambda: Peer(directory / "fastapi", server, shape, FASTAPI, [fastapi]),
        }
        for form, clients in ((form, clients) for form in ("statements", "function") for clients in (1, 16, 64)):
            self._known[pgbench_name(form, clients)] = lambda form=form, clients=clients: PgBenchClients(  # type: ignore[misc]
                pgbench, form, clients
            )
        self._started: dict[str, Contestant] = {}

    async def check(self, names: set[str]) -> None:
        """Whether the server takes as many connections as these contestants want.

        Raises:
            RuntimeError: it does not.
        """
        pooled = names & {AIOHTTP, AIOHTTP_FUNCTION, AIOHTTP_UNRESET, AIOHTTP_INDEXED, FASTAPI}
        pools = len(pooled) * PEER_PROCESSES * PEER_POOL_SIZE
        clients = _MOST_CLIENTS if any(name.startswith("pgbench") for name in names) else 0
        wanted, there = pools + clients + _OTHERS, int(await ask(self._server.url, "SHOW max_connections"))
        if there < wanted:
            raise RuntimeError(f"PostgreSQL takes {there} connections (max_connections), {wanted} are needed.")

    async def get(self, name: str) -> Contestant:
        """The contestant of this name, running."""
        if (found := self._started.get(name)) is None:
            found = self._started[name] = self._known[name]()
            await found.start()
        return found

    def stop(self) -> None:
        """End all of them; they can be started no more."""
        for contestant in self._started.values():
            contestant.stop()
        self._started.clear()
