"""The pool mends itself, and says when the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage.database import Database, reachable
from bitnexus.storage.embedded import EmbeddedPostgres

_PATIENCE_S = 20.0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path, durable=False)
    server.start()
    yield server
    server.stop()


async def test_a_query_is_answered_and_the_process_is_named(database_url: str) -> None:
    database = await Database.connect(database_url, pool_size=2, process="ledger")
    async with database.connection() as connection:
        assert await connection.fetchval("SHOW application_name") == "bitnexus/ledger"
        assert await connection.fetchval("SHOW timezone") == "UTC"
    assert await database.healthy(5.0)
    await database.close()
    assert not await database.healthy(5.0)


@pytest.mark.parametrize("value", [{"a": [1, "ü", None]}, [], "text", 2**53 - 1, None])
async def test_json_comes_back_as_it_was_given(database_url: str, value: object) -> None:
    database = await Database.connect(database_url)
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT $1::jsonb", value) == value
        assert await connection.fetchval("SELECT $1::json", value) == value
    await database.close()


async def test_it_recovers_by_itself_after_the_server_crashed_and_came_back(own_server: EmbeddedPostgres) -> None:
    database = await Database.connect(own_server.url, pool_size=2)
    async with database.connection() as connection:
        asleep = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        async with asyncio.timeout(_PATIENCE_S):
            async with database.connection() as other:
                while not await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
                    pass
        own_server.stop(immediate=True)
        with pytest.raises(DatabaseUnavailable), reachable():
            await asleep
    assert not await database.healthy(2.0)
    with pytest.raises(DatabaseUnavailable):
        async with database.connection():
            raise AssertionError("there is no connection to be had")
    own_server.start()
    assert await database.healthy(_PATIENCE_S)
    for _ in range(4):
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
    await database.close()


async def test_a_process_can_start_while_the_server_is_away(own_server: EmbeddedPostgres) -> None:
    own_server.stop()
    database = await Database.connect(own_server.url)
    assert not await database.healthy(2.0)
    own_server.start()
    assert await database.healthy(_PATIENCE_S)
    await database.close()


async def test_an_exhausted_pool_is_unavailable_in_bounded_time(database_url: str) -> None:
    database = await Database.connect(database_url, pool_size=1)
    async with database.connection():
        assert not await database.healthy(0.05)
        with pytest.raises(DatabaseUnavailable):
            async with database.connection(timeout_s=0.05):
                raise AssertionError("there is no connection to be had")
    assert await database.healthy(_PATIENCE_S)
    await database.close()


@pytest.mark.parametrize(
    "trouble",
    [
        asyncpg.DiskFullError("could not extend file: No space left on device"),
        asyncpg.OutOfMemoryError("out of memory"),
        asyncpg.QueryCanceledError("canceling statement due to user request"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_what_passes_by_itself_is_an_absent_database_and_no_fault(trouble: Exception) -> None:
    with pytest.raises(DatabaseUnavailable) as raised, reachable():
        raise trouble
    assert raised.value.__cause__ is trouble


async def test_a_query_that_somebody_cancels_is_unavailable(database_url: str) -> None:
    database = await Database.connect(database_url, pool_size=2)

    pids: list[int] = []

    async def sleep() -> None:
        async with database.connection() as connection:
            pids.append(connection.get_server_pid())
            await connection.execute("SELECT pg_sleep(60)")

    asleep = asyncio.ensure_future(sleep())
    async with asyncio.timeout(_PATIENCE_S), database.connection() as other:
        while not asleep.done():  # one that comes before the query cancels nothing
            for pid in pids:
                await other.execute("SELECT pg_cancel_backend($1)", pid)
            await asyncio.sleep(0.01)
        with pytest.raises(DatabaseUnavailable):
            await asleep
    await database.close()


async def test_a_mistake_in_a_query_is_not_taken_for_an_absent_database(database_url: str) -> None:
    database = await Database.connect(database_url)
    with pytest.raises(asyncpg.UndefinedTableError):
        async with database.connection() as connection:
            await connection.execute("SELECT * FROM nothing")
    with pytest.raises(asyncpg.InterfaceError, match="expects 0 arguments"):
        async with database.connection() as connection:
            await connection.execute("SELECT 1", 2)
    await database.close()


async def test_closing_does_not_wait_for_a_query_without_end(database_url: str) -> None:
    database = await Database.connect(database_url)
    async with asyncio.timeout(_PATIENCE_S):
        async with database.pool.acquire() as connection:
            asleep = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
            await asyncio.sleep(0)  # lets it begin
            await database.close(timeout_s=0.1)
            with pytest.raises(DatabaseUnavailable), reachable():
                await asleep
