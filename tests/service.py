"""A client of a whole service under test: `Service` starts one (see running.py), and speaks HTTP with it."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.http.api.opening import account_id_of
from bitnexus.passwords import hash_password
from bitnexus.storage import users
from bitnexus.tokens import AccessTokens
from tests.running import RunningService

RESTART_TIMEOUT_S = 30
ASSET = "USD/2"
ADMIN_EMAIL, ADMIN_PASSWORD = "admin@example.com", "correct horse battery"


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
    """A running service, its log in ``directory/log``, and an HTTP client for it."""

    running: RunningService
    session: aiohttp.ClientSession

    @classmethod
    async def start(
        cls, database_url: str, directory: Path, *, program: str | None = None, **environment: str
    ) -> Service:
        """Start one on a free port; `program` takes the place of run.py."""
        settings = {
            "DATABASE_URL": database_url,
            "SECRET_KEY_BASE": "test-" * 16,
            "BITNEXUS_PROFILE": "test",
            **environment,
        }
        running = RunningService(directory, settings, program=program)
        try:
            await asyncio.to_thread(running.start)
        except BaseException:
            running.close()
            raise
        return cls(running, new_session(running.port))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.running.port

    @property
    def environment(self) -> dict[str, str]:
        """Its settings, and what else was in the environment."""
        return self.running.environment

    async def reconnect(self) -> None:
        """Leave the connections to killed fronts behind."""
        await self.session.close()
        self.session = new_session(self.port)

    async def stop(self) -> int:
        """Stop it in order; its exit code."""
        await self.session.close()
        try:
            if self.running.process.poll() is None:
                self.running.process.terminate()
            return await asyncio.to_thread(self.running.wait)
        finally:
            await asyncio.to_thread(self.running.close)

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

    async def newcomer(self) -> User:
        """A new user with an account, by token alone: to register would hash a password, and to log in, again."""
        id_, tokens = str(uuid.uuid4()), AccessTokens(self.environment["SECRET_KEY_BASE"], 3600)
        connection = await asyncpg.connect(self.environment["DATABASE_URL"])
        try:
            await users.insert(connection, user_id=id_, email=f"{id_}@example.com", name="", password_hash="!")
        finally:
            await connection.close()
        user = User(id_, account_id_of(id_, ASSET), f"{id_}@example.com", tokens.issue(id_, "user"))
        status, answer, _ = await self.call("GET", "/api/v1/accounts", user=user)  # opens it
        assert status == 200, answer
        return user

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
        return {name: pid for name, pid in self.running.pids().items() if psutil.pid_exists(pid)}

    async def kill(self, *names: str) -> None:
        """SIGKILL these processes of the tree, all at once, and wait until their successors are up."""
        before = await self.pids()
        for name in names:
            os.kill(before[name], signal.SIGKILL)
        async with asyncio.timeout(RESTART_TIMEOUT_S):
            while not all(self.running.has_pid(name, other_than=before[name]) for name in names):
                await asyncio.sleep(0.02)


def new_session(port: int) -> aiohttp.ClientSession:
    """A client of the service at this port."""
    return aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=aiohttp.DummyCookieJar())
