"""The servers whose channels are measured: BitNexus, and a bare aiohttp server beside it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from bench.peers import aiohttp_fanout
from tests.customers import Customer, Teller, session_with
from tests.running import ROOT, RunningService, accepts_connections, free_port, wait_until

_START_S: Final = 30.0
_FUNDS: Final = 1_000_000


class Contestant(Protocol):
    """A server with one topic."""

    name: str
    port: int
    path: str
    topic: str
    token: str

    async def start(self) -> None:
        """Start it."""

    async def publish(self, session: aiohttp.ClientSession, mark: str) -> None:
        """Make one event with this text in it."""

    def serving(self) -> list[int]:
        """The processes that serve clients."""

    def pids(self) -> list[int]:
        """All its processes, but PostgreSQL's."""

    def stop(self) -> None:
        """End it."""


class BitNexus:
    """The service with its settings as they are by default, but for the rate limits; the event is a transfer."""

    name = "BitNexus"
    path = "/socket/websocket?vsn=2.0.0"

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._service = RunningService(directory, {"BITNEXUS_PARTITIONS": "1"})
        self.port = self._service.port

    async def start(self) -> None:
        """Two users: the clients are of the one who is paid."""
        await asyncio.to_thread(self._service.start)
        async with session_with(self._service) as session:
            teller = await Teller.begin(self._service, session)
            payer, payee = await teller.customers(2, funds=_FUNDS)
        self._payer: Customer = payer
        self._payee: Customer = payee
        self.topic, self.token = f"transaction:{payee.user_id}", payee.token

    async def publish(self, session: aiohttp.ClientSession, mark: str) -> None:
        """A transfer."""
        accounts = {"debit_account_id": self._payer.account_id, "credit_account_id": self._payee.account_id}
        fields = {**accounts, "amount": 1, "description": mark}
        headers = {"Authorization": f"Bearer {self._payer.token}"}
        async with session.post("/api/v1/transactions", json={"transaction": fields}, headers=headers) as response:
            response.raise_for_status()

    def serving(self) -> list[int]:
        """The fronts."""
        return [pid for pid, name in self._service.names().items() if name.startswith("http-")]

    def pids(self) -> list[int]:
        """The tree."""
        return [pid for pid, name in self._service.names().items() if name != "postgresql"]

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self._service.close()


class BareAiohttp:
    """`bench.peers.aiohttp_fanout`."""

    name = "bare aiohttp"
    path, topic, token = aiohttp_fanout.SOCKET, "bench", ""

    def __init__(self) -> None:
        self.port = free_port()

    async def start(self) -> None:
        """Start it."""
        self._launch()
        await asyncio.to_thread(
            wait_until, lambda: accepts_connections(self.port), _START_S, lambda: "the peer does not start"
        )

    def _launch(self) -> None:
        command = [sys.executable, "-m", "bench.peers.aiohttp_fanout", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT)

    async def publish(self, session: aiohttp.ClientSession, mark: str) -> None:
        """A POST of as much as a transfer's payload."""
        body = {"description": mark, "id": "0" * 36, "pad": "x" * 500}
        async with session.post(aiohttp_fanout.PUBLISH, json=body) as response:
            response.raise_for_status()

    def serving(self) -> list[int]:
        """It alone."""
        return [self._process.pid]

    pids = serving

    def stop(self) -> None:
        """End it."""
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait(_START_S)
