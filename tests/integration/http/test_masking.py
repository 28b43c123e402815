"""A death between front and database is a slower answer; after the deadline a 503, and the truth at the next try."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.service import Service, User

DEADLINE_S = 2.0
PATIENCE_S = 20.0
FUNDS = 1_000


@pytest.fixture
async def service(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    running = await Service.start(fresh_database_url, tmp_path, BITNEXUS_CALL_TIMEOUT_S=str(DEADLINE_S))
    yield running
    await running.stop()


@pytest.fixture
async def patient(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """With the deadline that it has by default."""
    running = await Service.start(fresh_database_url, tmp_path)
    yield running
    await running.stop()


@asynccontextmanager
async def no_commit(service: Service) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Whoever writes the next block must wait whether this one, of the same height, will be there."""
    connection = await asyncpg.connect(service.environment["DATABASE_URL"])
    transaction = connection.transaction()
    try:
        await transaction.start()
        await connection.execute(
            "INSERT INTO ledger_blocks SELECT height + 1, prev_hash, hash, tree_size, tree_root, peaks, time_us"
            " FROM ledger_blocks ORDER BY height DESC LIMIT 1"
        )
        yield connection
        await transaction.rollback()
    finally:
        await connection.close()


async def until_written(connection: asyncpg.Connection[Any]) -> None:
    """A block waits."""
    async with asyncio.timeout(PATIENCE_S):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)


async def command(service: Service, admin: User, verb: str, path: str) -> None:
    body = {"command": {"verb": verb, "path": path}}
    status, answer, _ = await service.call("POST", "/api/v1/admin/tree/commands", user=admin, json=body)
    assert status in {200, 202}, answer


async def pair(service: Service) -> tuple[User, User]:
    payer, payee = await service.register(), await service.register()
    await service.fund(payer, FUNDS)
    return payer, payee


async def test_without_a_ledger_until_the_deadline_the_answer_is_503_and_the_same_id_works_later(
    service: Service,
) -> None:
    payer, payee = await pair(service)
    admin = await service.admin()
    await command(service, admin, "stop", "bitnexus/ledger")
    fields = {"id": str(uuid.uuid4())}
    begun_at = asyncio.get_running_loop().time()
    status, answer, headers = await service.transfer(payer, payee, 10, fields=fields)
    assert asyncio.get_running_loop().time() - begun_at >= DEADLINE_S * 0.95  # it was waited for
    assert (status, answer["code"], headers["Retry-After"]) == (503, "timeout", "1")
    await command(service, admin, "start", "bitnexus/ledger")
    assert (await service.transfer(payer, payee, 10, fields=fields))[0] == 201
    assert (await service.transfer(payer, payee, 10, fields=fields))[0] == 200


async def test_a_transfer_that_is_committed_after_its_callers_deadline_is_told_as_it_was_at_the_next_try(
    service: Service,
) -> None:
    payer, payee = await pair(service)
    fields = {"id": str(uuid.uuid4())}
    async with no_commit(service):
        status, answer, headers = await service.transfer(payer, payee, 10, fields=fields)
        assert (status, answer["code"], headers["Retry-After"]) == (503, "timeout", "1")
    status, answer, headers = await service.transfer(payer, payee, 10, fields=fields)
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")
    _, balance, _ = await service.call("GET", f"/api/v1/accounts/{payer.account_id}", user=payer)
    assert balance["data"]["balance"] == FUNDS - 10
    # Another amount under that id is not the truth.
    status, answer, _ = await service.transfer(payer, payee, 11, fields=fields)
    assert (status, answer["code"]) == (422, "exists_with_different_amount")


async def test_a_request_in_work_when_processes_die_gets_its_one_true_answer(patient: Service) -> None:
    payer, payee = await pair(patient)
    for victims in (("ledger",), ("transactions-0", "transactions-1"), ("ledger", "transactions-0", "transactions-1")):
        fields = {"id": str(uuid.uuid4())}
        async with no_commit(patient) as connection:
            asked = asyncio.ensure_future(patient.transfer(payer, payee, 10, fields=fields))
            await until_written(connection)
            await patient.kill(*victims)
            assert not asked.done()
        status, answer, _ = await asked
        # 200: the server process of the ledger that died has committed what it had been sent.
        assert status in {200, 201}, answer
        assert answer["data"]["id"] == fields["id"]
    _, history, _ = await patient.call("GET", f"/api/v1/accounts/{payer.account_id}/history", user=payer)
    assert [each["amount"] for each in history["data"]] == [10, 10, 10, FUNDS]
