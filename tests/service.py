"""A whole service for tests, as processes of its own: ``python -m tests.service`` runs the tree, `Service` drives it.

The launcher forks, so it needs a process without threads and loops: the test's own has both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import psutil

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.passwords import hash_password
from tests.running import free_port, is_setting

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15
ASSET = "USD/2"
ADMIN_EMAIL, ADMIN_PASSWORD = "admin@example.com", "correct horse battery"


def run() -> None:
    """Run the tree until SIGTERM or the end of stdin; "ready" on stdout when every process is up.

    A line on stdin is answered with the pids of the processes that are up, by name, as JSON.
    """
    from bitnexus.application import partitions
    from bitnexus.config import get_settings, logging
    from bitnexus.supervision.launcher import Launcher
    from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

    settings = get_settings()
    logging.configure(settings, process="main")
    args = json.loads(os.environ.get("TEST_FRONT_ARGS", "{}"))
    fronts = [
        ChildSpec(f"http-{n}", ProcessStart("bitnexus.http.front:Front", args), shutdown=8000)
        for n in range(settings.fronts)
    ]
    ledger = ChildSpec("ledger", ProcessStart("bitnexus.actors.ledger.actor:Ledger"))
    notifier = ChildSpec("notifier", ProcessStart("bitnexus.actors.notifier.actor:Notifier"))
    operations = ChildSpec("operations", ProcessStart("bitnexus.operations.actor:Operations"))
    flags = SupervisorFlags(intensity=50, period_s=5)
    children = [operations, ledger, partitions(settings, flags), notifier, *fronts]
    launcher = Launcher("bitnexus", flags, children)
    launcher.start()
    print("ready", flush=True)  # noqa: T201 - it is what the test waits for
    stopped = asyncio.Event()
    launcher.loop.add_signal_handler(signal.SIGTERM, stopped.set)

    def tell_pids() -> None:
        if not sys.stdin.readline():
            stopped.set()  # the test is gone
            return
        infos = [launcher.node.whereis(name) for name in launcher.node.names()]
        print(json.dumps({info.name: info.pid for info in infos if info}), flush=True)  # noqa: T201

    launcher.loop.add_reader(sys.stdin, tell_pids)
    launcher.loop.run_until_complete(stopped.wait())
    in_time = launcher.loop.run_until_complete(launcher.stop(10))
    sys.exit(0 if in_time else 1)


@dataclass(slots=True)
class User:
    """A logged-in user of the service."""

    id: str
    account_id: str
    email: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(slots=True)
class Service:
    """A running tree and an HTTP client for it."""

    process: asyncio.subprocess.Process
    port: int
    session: aiohttp.ClientSession
    environment: dict[str, str] = field(repr=False)

    @classmethod
    async def start(cls, database_url: str, directory: Path, **environment: str) -> Service:
        """Start a tree on a free port; its lines go to ``directory/log``."""
        port = free_port()
        merged = {
            **{name: value for name, value in os.environ.items() if not is_setting(name)},
            "DATABASE_URL": database_url,
            "PORT": str(port),
            "SECRET_KEY_BASE": "test-" * 16,
            "BITNEXUS_PROFILE": "test",
            "BITNEXUS_DATA_DIR": str(directory / "var"),
            "BITNEXUS_LOG_FORMAT": "json",
            "BITNEXUS_ACCESS_TOKEN_TTL_S": "86400",  # a run may be long, and logs in once
            "BITNEXUS_RATE_LIMITS": "false",
            "BITNEXUS_PARTITIONS": "2",
            **environment,
        }
        with (directory / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.service",
                env=merged,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await process.stdout.readline()
        assert line == b"ready\n", (directory / "log").read_text()
        return cls(process, port, new_session(port), merged)

    async def reconnect(self) -> None:
        """Leave the connections to killed fronts behind."""
        await self.session.close()
        self.session = new_session(self.port)

    async def stop(self) -> int:
        """Stop the tree in order; its exit code."""
        await self.session.close()
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self.process.wait()
            except TimeoutError:
                for child in psutil.Process(self.process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
                self.process.kill()
                await self.process.wait()
                raise
        assert self.process.returncode is not None
        return self.process.returncode

    async def call(
        self, method: str, path: str, *, user: User | None = None, json: Any = None, **options: Any
    ) -> tuple[int, Any, Any]:
        """Status, parsed body and headers of one request."""
        headers = {**(user.headers if user else {}), **options.pop("headers", {})}
        async with self.session.request(method, path, json=json, headers=headers, **options) as response:
            body = await response.json(content_type=None) if response.content_length else None
            return response.status, body, response.headers

    async def register(self, email: str | None = None, password: str = "long enough") -> User:
        """A new user, logged in."""
        email = email or f"{uuid.uuid4().hex}@example.com"
        body = {"user": {"email": email, "password": password}}
        status, answer, _ = await self.call("POST", "/api/v1/auth/register", json=body)
        assert status == 201, answer
        return User(answer["data"]["id"], answer["data"]["account_id"], email, await self.login(email, password))

    async def login(self, email: str, password: str) -> str:
        """An access token."""
        body = {"user": {"email": email, "password": password}}
        status, answer, _ = await self.call("POST", "/api/v1/auth/login", json=body)
        assert status == 200, answer
        token: str = answer["data"]["access_token"]
        return token

    async def admin(self) -> User:
        """The admin, made at first use."""
        connection = await asyncpg.connect(self.environment["DATABASE_URL"])
        try:
            await connection.execute(
                "INSERT INTO users (id, email, name, password_hash, role) VALUES ($1, $2, '', $3, 'admin') "
                "ON CONFLICT DO NOTHING",
                str(uuid.uuid4()),
                ADMIN_EMAIL,
                hash_password(ADMIN_PASSWORD),
            )
        finally:
            await connection.close()
        token = await self.login(ADMIN_EMAIL, ADMIN_PASSWORD)
        unknown = User("", world_account_id(ASSET), ADMIN_EMAIL, token)
        _, answer, _ = await self.call("GET", "/api/v1/users/me", user=unknown)
        return User(answer["data"]["id"], world_account_id(ASSET), ADMIN_EMAIL, token)

    async def fund(self, user: User, amount: int) -> None:
        """Money from the world account."""
        admin = await self.admin()
        fields = {"debit_account_id": "world", "credit_account_id": user.account_id, "amount": amount}
        status, answer, _ = await self.call("POST", "/api/v1/transactions", user=admin, json={"transaction": fields})
        assert status == 201, answer

    async def transfer(self, payer: User, payee: User, amount: int, **options: Any) -> tuple[int, Any, Any]:
        """POST /transactions between two users' accounts; `fields` are further fields of the transaction."""
        fields = {
            "debit_account_id": payer.account_id,
            "credit_account_id": payee.account_id,
            "amount": amount,
            **options.pop("fields", {}),
        }
        return await self.call("POST", "/api/v1/transactions", user=payer, json={"transaction": fields}, **options)

    async def pids(self) -> dict[str, int]:
        """The processes of the tree that are up now, by name."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"pids\n")
        answer: dict[str, int] = orjson.loads(await self.process.stdout.readline())
        return answer

    async def kill(self, name: str) -> None:
        """SIGKILL one process of the tree and wait until its successor is up."""
        old = (await self.pids())[name]
        os.kill(old, signal.SIGKILL)
        async with asyncio.timeout(START_TIMEOUT_S):
            while (await self.pids()).get(name, old) == old:
                await asyncio.sleep(0.02)


def new_session(port: int) -> aiohttp.ClientSession:
    """A client of the service at this port."""
    return aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=aiohttp.DummyCookieJar())


if __name__ == "__main__":
    run()
