"""Users of a running service, made by its command line and its API alone: an admin, customers, their money."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from bitnexus.http.client import WORLD, Client

ADMIN_EMAIL: Final = "operator@example.com"
PASSWORD: Final = "correct horse battery"
#: Passwords are hashed for each; more at once only wait for each other.
_AT_ONCE: Final = 4
_REQUEST_TIMEOUT_S: Final = 30.0


class Node(Protocol):
    """A running service, and what its command line needs to find it."""

    @property
    def address(self) -> str:
        """The base of its URLs."""

    environment: dict[str, str]
    directory: Path


@dataclass(frozen=True, slots=True)
class Customer:
    """A logged-in user with one account."""

    user_id: str
    account_id: str
    token: str = field(repr=False)


class Teller:
    """Opens accounts and pays money in, as the admin."""

    def __init__(self, session: aiohttp.ClientSession, admin_token: str) -> None:
        self._session = session
        self.admin_token = admin_token
        self._admin = _client(session, admin_token)

    @classmethod
    async def begin(cls, service: Node, session: aiohttp.ClientSession, email: str = ADMIN_EMAIL) -> Teller:
        """Create the admin by the command line and log in."""
        command = [sys.executable, "-m", "bitnexus", "user", "create-admin", "--email", email, "--password-stdin"]
        process = await asyncio.create_subprocess_exec(
            *command,
            env=service.environment,
            cwd=service.directory,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(f"{PASSWORD}\n".encode())
        if process.returncode != 0:
            raise AssertionError(f"no admin could be created:\n{output.decode()}")
        granted = await _client(session).auth.login(email, PASSWORD)
        return cls(session, granted.access_token)

    async def customers(self, count: int, *, funds: int, named: str = "customer") -> list[Customer]:
        """So many new customers, each with `funds` (minor units of the default asset) out of the world account."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> Customer:
            async with slots:
                return await self._customer(f"{named}-{number}@example.com", funds)

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def accounts(self, count: int) -> list[str]:
        """The ids of so many new accounts of the admin's, at most 1,000 (see transactions.user)."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one() -> str:
            async with slots:
                return (await self._admin.accounts.open()).id

        return await asyncio.gather(*(one() for _ in range(count)))

    async def product(self, sku: str, *, price: int, stock: int) -> str:
        """The id of a new product, with so many units in stock."""
        made = await self._admin.products.create(sku=sku, name="Mug", price=price)
        await self._admin.products.restock(made.id, stock)
        return made.id

    async def admin(self) -> Customer:
        """The admin itself, with an account of its own."""
        me = await self._admin.users.me()
        (account_id,) = await self.accounts(1)
        return Customer(me.id, account_id, self.admin_token)

    async def fund(self, account_ids: Sequence[str], funds: int) -> None:
        """Pay `funds` into each account, at most as many as a batch may have."""
        lines = [{"debit_account_id": WORLD, "credit_account_id": one, "amount": funds} for one in account_ids]
        await self._admin.transactions.batch(lines, atomic=True)

    async def _customer(self, email: str, funds: int) -> Customer:
        api = _client(self._session)
        user = await api.auth.register(email, PASSWORD)
        assert user.account_id is not None, f"no account was opened for {email}"
        if funds:
            await self._admin.transactions.post(debit=WORLD, credit=user.account_id, amount=funds)
        granted = await api.auth.login(email, PASSWORD)
        return Customer(user.id, user.account_id, granted.access_token)


def session_with(service: Node) -> aiohttp.ClientSession:
    """A client of the service; close it."""
    timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S)
    return aiohttp.ClientSession(service.address, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


def _client(session: aiohttp.ClientSession, token: str | None = None) -> Client:
    # The session knows the address.
    return Client("", tokens=token, session=session, attempt_s=_REQUEST_TIMEOUT_S)
