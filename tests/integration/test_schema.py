"""The schema goes up and down, once, whoever else is at it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres


async def _tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def test_all_revisions_go_up_and_down_and_up_again(empty_database_url: str) -> None:
    before = await schema.status(empty_database_url)
    assert before.current is None
    assert before.pending[0] == "0001"
    assert before.pending[-1] == before.head
    assert await schema.migrate(empty_database_url) == before.pending
    there = await schema.status(empty_database_url)
    assert (there.current, there.pending, there.is_current) == (before.head, (), True)
    tables = await _tables(empty_database_url)
    assert "users" in tables
    assert await schema.rollback(empty_database_url, steps=len(before.pending)) == before.pending[::-1]
    assert await schema.status(empty_database_url) == before
    assert await _tables(empty_database_url) == {"alembic_version"}
    assert await schema.migrate(empty_database_url) == before.pending
    assert await _tables(empty_database_url) == tables


async def test_one_step_back_undoes_the_newest_revision_alone(fresh_database_url: str) -> None:
    head = (await schema.status(fresh_database_url)).head
    assert await schema.rollback(fresh_database_url) == (head,)
    assert (await schema.status(fresh_database_url)).pending == (head,)


async def test_migrating_twice_changes_nothing_the_second_time(fresh_database_url: str) -> None:
    assert await schema.migrate(fresh_database_url) == ()


async def test_rolling_back_an_empty_database_changes_nothing(empty_database_url: str) -> None:
    assert await schema.rollback(empty_database_url, steps=5) == ()


async def test_migrators_at_the_same_time_apply_each_revision_once(empty_database_url: str) -> None:
    pending = (await schema.status(empty_database_url)).pending
    applied = await asyncio.gather(*(schema.migrate(empty_database_url) for _ in range(4)))
    assert sorted(applied) == [(), (), (), pending]


async def test_a_revision_of_a_newer_version_is_named(fresh_database_url: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    for call in (schema.status, schema.migrate, schema.rollback):
        with pytest.raises(schema.SchemaError, match=r"revision 9999.*newer"):
            await call(fresh_database_url)


async def test_a_database_is_created_once(postgres: EmbeddedPostgres) -> None:
    url = postgres.url_of('to create "quoted')
    with pytest.raises(schema.SchemaError, match="bitnexus db create"):
        await schema.status(url)
    assert sorted(await asyncio.gather(schema.create(url), schema.create(url))) == [False, True]
    assert await schema.create(url) is False
    assert (await schema.status(url)).current is None


async def test_a_server_that_is_not_there_is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"postgresql://bitnexus@/bitnexus?host={tmp_path_factory.mktemp('nobody')}"
    for call in (schema.create, schema.status, schema.migrate):
        with pytest.raises(DatabaseUnavailable):
            await call(url)
