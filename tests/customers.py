"""Users of a running service, made by its command line and its API alone: an admin, customers, their money."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.running import RunningService

ADMIN_EMAIL: Final = "operator@example.com"
PASSWORD: Final = "correct horse battery"
#: Passwords are hashed for each; more at once only wait for each other.
_AT_ONCE: Final = 4
_REQUEST_TIMEOUT_S: Final = 30.0


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
        self._admin_token = admin_token

    @classmethod
    async def begin(cls, service: RunningService, session: aiohttp.ClientSession) -> Teller:
        """Create the admin by the command line and log in."""
        command = [sys.executable, "-m", "bitnexus", "user", "create-admin", "--email", ADMIN_EMAIL, "--password-stdin"]
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
        return cls(session, await _log_in(session, ADMIN_EMAIL))

    async def customers(self, count: int, *, funds: int) -> list[Customer]:
        """So many new customers, each with `funds` (minor units of the default asset) out of the world account."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> Customer:
            async with slots:
                return await self._customer(f"customer-{number}@example.com", funds)

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def accounts(self, count: int) -> list[str]:
        """The ids of so many new accounts of the admin's, at most 1,000 (see transactions.user)."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one() -> str:
            async with slots:
                opened = await post(self._session, "/api/v1/accounts", {"account": {}}, token=self._admin_token)
                return str(opened["id"])

        return await asyncio.gather(*(one() for _ in range(count)))

    async def fund(self, account_ids: Sequence[str], funds: int) -> None:
        """Pay `funds` into each account, at most as many as a batch may have."""
        fields = [{"debit_account_id": "world", "credit_account_id": one, "amount": funds} for one in account_ids]
        body = {"transactions": fields, "atomic": True}
        await post(self._session, "/api/v1/transactions/batch", body, token=self._admin_token)

    async def _customer(self, email: str, funds: int) -> Customer:
        body = {"user": {"email": email, "password": PASSWORD}}
        user = await post(self._session, "/api/v1/auth/register", body)
        account_id = user["account_id"]
        if funds:
            fields = {"debit_account_id": "world", "credit_account_id": account_id, "amount": funds}
            await post(self._session, "/api/v1/transactions", {"transaction": fields}, token=self._admin_token)
        return Customer(user["id"], account_id, await _log_in(self._session, email))


def session_with(service: RunningService) -> aiohttp.ClientSession:
    """A client of the service; close it."""
    timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S)
    return aiohttp.ClientSession(service.address, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


async def post(
    session: aiohttp.ClientSession, path: str, body: Mapping[str, Any], *, token: str | None = None
) -> dict[str, Any]:
    """What stands under ``data`` in the answer; AssertionError for an error."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.post(path, json=body, headers=headers) as response:
        answer: dict[str, Any] = await response.json(content_type=None)
        if not response.ok:
            raise AssertionError(f"{path}: {response.status} {answer}")
        data: dict[str, Any] = answer["data"]
        return data


async def _log_in(session: aiohttp.ClientSession, email: str) -> str:
    answer = await post(session, "/api/v1/auth/login", {"user": {"email": email, "password": PASSWORD}})
    token: str = answer["access_token"]
    return token
