"""Who is measured: BitNexus as a user starts it, and the peers, each with its own database of one server.

A contestant is started with N accounts of N users, all funded, and gives what the load needs: a port, and the file of
its tokens and accounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from bench.cpu import descendants, kind_of
from bench.peers import aiohttp_asyncpg
from bitnexus.storage.embedded import EmbeddedPostgres
from tests.customers import Teller, session_with
from tests.running import ROOT, RunningService, accepts_connections, free_port, wait_until

#: In minor units: far more than a run can move.
FUNDS = 1_000_000_000
PEER_PROCESSES = 2
PEER_POOL_SIZE = 10
_START_TIMEOUT_S = 30.0


class Contestant(Protocol):
    """Somebody who takes transfers."""

    name: str
    port: int
    accounts: Path

    async def start(self, count: int) -> None:
        """Start it, with so many funded accounts."""

    def kinds(self) -> Mapping[int, str]:
        """What its processes are, by their ids; without PostgreSQL's."""

    async def recorded(self) -> int:
        """How many transfers between users its database holds."""

    async def surplus(self) -> int:
        """The sum of all balances, less what it has to be."""

    def stop(self) -> None:
        """End it."""


class BitNexus:
    """The service itself, with its settings as they are by default, but for the rate limits."""

    name = "BitNexus"

    def __init__(self, directory: Path, server: EmbeddedPostgres) -> None:
        directory.mkdir()
        self._url = server.url_of("bitnexus_bench")
        self._server = server
        self.service = RunningService(directory, {"DATABASE_URL": self._url})
        self.port = self.service.port
        self.accounts = directory / "accounts"

    async def start(self, count: int) -> None:
        """Start it; users, accounts and money come through its API."""
        await _create_database(self._server, "bitnexus_bench")
        await asyncio.to_thread(self.service.start)
        async with session_with(self.service) as session:
            teller = await Teller.begin(self.service, session)
            customers = await teller.customers(count, funds=FUNDS)
        self.accounts.write_text("".join(f"{one.token} {one.account_id}\n" for one in customers))

    def kinds(self) -> Mapping[int, str]:
        """By the names in the tree."""
        return {pid: kind_of(name) for pid, name in self.service.names().items()}

    async def recorded(self) -> int:
        """All transfers but the funding."""
        world = "SELECT id FROM ledger_accounts WHERE owner_id IS NULL"
        query = f"SELECT count(*) FROM ledger_transfers WHERE refusal IS NULL AND debit_account_id NOT IN ({world})"
        return int(await _ask(self._url, query))

    async def surplus(self) -> int:
        """All money comes from the world account."""
        return int(await _ask(self._url, "SELECT sum(credits_posted - debits_posted)::bigint FROM ledger_accounts"))

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self.service.close()


class AiohttpAsyncpg:
    """`bench.peers.aiohttp_asyncpg`; `reset=False`: with a pool that does not reset its connections."""

    def __init__(self, directory: Path, server: EmbeddedPostgres, *, reset: bool = True) -> None:
        directory.mkdir()
        self.name = "aiohttp + asyncpg" if reset else "aiohttp + asyncpg, no reset"
        self._options = [] if reset else ["--no-reset"]
        self._database = f"{directory.name}_bench"
        self._url = server.url_of(self._database)
        self._server = server
        self._log = directory / "log"
        self.port = free_port()
        self.accounts = directory / "accounts"
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, count: int) -> None:
        """Make its schema and its users, then start its processes."""
        await _create_database(self._server, self._database)
        self._count = count
        users = [(secrets.token_urlsafe(32), str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(count)]
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(aiohttp_asyncpg.SCHEMA)
            accounts = [(account, user, FUNDS) for _, user, account in users]
            await connection.executemany("INSERT INTO accounts (id, owner_id, balance) VALUES ($1, $2, $3)", accounts)
            tokens = [(token, user) for token, user, _ in users]
            await connection.executemany("INSERT INTO tokens (token, user_id) VALUES ($1, $2)", tokens)
            await connection.execute("ANALYZE")
        finally:
            await connection.close()
        self.accounts.write_text("".join(f"{token} {account}\n" for token, _, account in users))
        self._launch()
        await asyncio.to_thread(self._wait_until_up)

    def _launch(self) -> None:
        command = [sys.executable, "-m", "bench.peers.aiohttp_asyncpg"]
        command += ["--database-url", self._url, "--port", str(self.port)]
        command += ["--processes", str(PEER_PROCESSES), "--pool-size", str(PEER_POOL_SIZE), *self._options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, process_group=0)

    def _wait_until_up(self) -> None:
        def up() -> bool:
            return self._log.read_text().count("ready") == PEER_PROCESSES and accepts_connections(self.port)

        wait_until(up, _START_TIMEOUT_S, lambda: f"the peer does not start:\n{self._log.read_text()}")

    def kinds(self) -> Mapping[int, str]:
        """All of them handle requests."""
        assert self._process is not None
        return dict.fromkeys(descendants(self._process.pid), "front")

    async def recorded(self) -> int:
        """All transfers."""
        return int(await _ask(self._url, "SELECT count(*) FROM transfers"))

    async def surplus(self) -> int:
        """Every account began with the same."""
        return int(await _ask(self._url, "SELECT sum(balance)::bigint FROM accounts")) - self._count * FUNDS

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_START_TIMEOUT_S)


async def _create_database(server: EmbeddedPostgres, name: str) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()


async def _ask(url: str, query: str) -> Any:  # noqa: ANN401 - of the column's type
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
