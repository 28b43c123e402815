"""The peers that take transfers over HTTP: their processes, their database, their users."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.contestants import FUNDS, OverHttp
from bench.cpu import descendants
from bench.peers import transfer_sql
from bench.servers import Server, ask, create_database
from bench.workloads import Holder, Population, Shape, history_of_pairs
from tests.running import ROOT, accepts_connections, free_port, wait_until

PEER_PROCESSES: Final = 2
PEER_POOL_SIZE: Final = 10
_START_TIMEOUT_S: Final = 60.0


class Peer(OverHttp):
    """A module of `bench.peers`, by its name and its options."""

    def __init__(self, directory: Path, server: Server, shape: Shape, name: str, command: Sequence[str]) -> None:
        super().__init__(directory, free_port())
        self.name = name
        self._command = command
        self._url = server.url_of(f"{directory.name}_bench")
        self._server, self._shape = server, shape
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Make its schema and its users, then start its processes."""
        await create_database(self._server, self._url)
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(transfer_sql.SCHEMA + transfer_sql.FUNCTION)
            self.population = await self._populate(connection)
        finally:
            await connection.close()
        self._launch()
        await asyncio.to_thread(self._wait_until_up)

    async def _populate(self, connection: Any) -> Population:  # noqa: ANN401 - untyped
        users = [(secrets.token_urlsafe(32), uuid.uuid4()) for _ in range(self._shape.users)]
        owners = [(uuid.uuid4(), user) for _, user in users for _ in range(self._shape.accounts_each)]
        pairs = history_of_pairs(self._shape)
        balances = [FUNDS] * len(owners)
        for debit, credit, amount in pairs:
            balances[debit] -= amount
            balances[credit] += amount
        await connection.copy_records_to_table("tokens", records=users, columns=("token", "user_id"))
        await connection.copy_records_to_table(
            "accounts",
            records=[(*owner, balance) for owner, balance in zip(owners, balances, strict=True)],
            columns=("id", "owner_id", "balance"),
        )
        await connection.copy_records_to_table(
            "transfers",
            records=[
                (owners[debit][1], f"first-{number}", owners[debit][0], owners[credit][0], amount)
                for number, (debit, credit, amount) in enumerate(pairs)
            ],
            columns=("user_id", "idempotency_key", "debit_account_id", "credit_account_id", "amount"),
        )
        await connection.execute("ANALYZE")
        tokens = {user: token for token, user in users}
        holders = [Holder(token, [str(id_) for id_, owner in owners if owner == user]) for token, user in users]
        rows = await connection.fetch("SELECT id, user_id FROM transfers")
        return Population(holders, [(tokens[uuid.UUID(str(row["user_id"]))], str(row["id"])) for row in rows])

    async def index_histories(self) -> None:
        """Make the indexes that pages of history need, and transfers do not."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(transfer_sql.HISTORY_INDEXES)
            await connection.execute("ANALYZE")
        finally:
            await connection.close()

    def _launch(self) -> None:
        command = [sys.executable, "-m", *self._command, "--database-url", self._url, "--port", str(self.port)]
        command += ["--pool-size", str(PEER_POOL_SIZE)]
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
        return int(await ask(self._url, "SELECT count(*) FROM transfers"))

    async def surplus(self) -> int:
        """Every account began with the same."""
        return int(await ask(self._url, "SELECT sum(balance)::bigint FROM accounts")) - self._shape.accounts * FUNDS

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_START_TIMEOUT_S)


class IndexedPeer(Peer):
    """A peer that can show histories, and pays for their indexes with each transfer."""

    async def start(self) -> None:
        """As `Peer`."""
        await super().start()
        await self.index_histories()
