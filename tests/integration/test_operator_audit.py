"""The audit of operators: every row arrives, whether the database is there or not; else the command is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from pathlib import Path

import asyncpg
import pytest

from bitnexus.errors import AuditUnavailable, NotFound
from bitnexus.operations import audit as audits
from bitnexus.operations.audit import FILE, Audit
from bitnexus.operations.recorded import recorded
from bitnexus.storage import operator_commands
from bitnexus.storage.database import Database
from bitnexus.storage.operator_commands import CommandRow

AWAY = "postgresql://nobody@127.0.0.1:1/nothing"
PATIENCE_S = 15.0


def command(number: int = 1, **fields: object) -> CommandRow:
    row = CommandRow(
        id=str(uuid.uuid4()),
        begun_us=number,
        operator_id=str(uuid.uuid4()),
        operator_role="admin",
        operator_name="ann@host",
        entrance="cli",
        address="127.0.0.1:1",
        verb="restart",
        path="bitnexus/ledger",
        arguments={"within_s": 30.0},
    )
    return dataclasses.replace(row, **fields)  # type: ignore[arg-type]


def ended(row: CommandRow, outcome: str = "done") -> CommandRow:
    return dataclasses.replace(row, finished_us=row.begun_us + 1, outcome=outcome, steps=[{"action": "stop"}])


@pytest.fixture
async def database(fresh_database_url: str):
    found = await Database.connect(fresh_database_url)
    yield found
    await found.close()


async def stored(database: Database) -> list[CommandRow]:
    async with database.connection() as connection:
        return await operator_commands.newest(connection, limit=1000)


async def until_stored(database: Database, rows: list[CommandRow]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await stored(database) != rows:
            await asyncio.sleep(0.02)


async def test_a_row_is_written_when_the_command_begins_and_its_outcome_stays(database, tmp_path: Path) -> None:
    audit, row = Audit(database, tmp_path), command()
    await audit.write(row)
    assert await stored(database) == [row]
    await audit.write(ended(row))
    await audit.write(row)  # late, as from the file
    await audit.write(ended(row, "failed"))
    assert await stored(database) == [ended(row)]
    assert not (tmp_path / FILE).exists()


async def test_a_change_of_tables_and_its_record_are_there_together_or_not_at_all(database) -> None:
    done, refused, broken = command(1), command(2), command(3)
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE changed (by uuid)")

        async def change(row: CommandRow, failure: Exception | None = None) -> None:
            async with recorded(connection, row) as outcome:
                await connection.execute("INSERT INTO changed VALUES ($1)", row.id)
                outcome.detail = "one"
                if failure is not None:
                    raise failure

        await change(done)
        with pytest.raises(NotFound):
            await change(refused, NotFound("no such thing"))
        with pytest.raises(RuntimeError):
            await change(broken, RuntimeError("a fault"))
        assert await connection.fetchval("SELECT array_agg(by::text) FROM changed") == [done.id]
    found = {row.id: (row.outcome, row.detail) for row in await stored(database)}
    assert found == {done.id: ("done", "one"), refused.id: ("refused", "no such thing")}


async def test_pages_go_on_where_the_last_one_ended(database) -> None:
    rows = [command(number // 2) for number in range(10)]  # two of each time
    async with database.connection() as connection:
        for row in rows:
            await operator_commands.record(connection, row)
        newest = sorted(rows, key=lambda row: (row.begun_us, row.id), reverse=True)
        page = await operator_commands.newest(connection, limit=3)
        assert page == newest[:3]
        last = page[-1]
        rest = await operator_commands.newest(connection, before_us=last.begun_us, before_id=last.id, limit=100)
        assert rest == newest[3:]


async def test_without_a_database_rows_wait_in_a_file_and_move_when_it_is_back(database, tmp_path: Path) -> None:
    away = await Database.connect(AWAY)
    first, second = command(1), command(2)
    audit = Audit(away, tmp_path)
    for row in (first, ended(first), second):
        await audit.write(row)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    await away.close()

    # The process dies, and the end of the machine cuts a line off.
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"id": "cut')
    audit = Audit(database, tmp_path)
    await audit.write(ended(second))  # before anything was moved: it must not overtake
    moving = asyncio.create_task(audit.run())
    await until_stored(database, [ended(second), ended(first)])
    while (tmp_path / FILE).exists():
        await asyncio.sleep(0.01)
    third = command(3)
    await audit.write(third)
    assert (await stored(database))[0] == third
    assert not (tmp_path / FILE).exists()
    moving.cancel()


async def test_a_database_that_answers_too_late_is_not_waited_for(
    database, fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "WRITE_S", 0.2)
    blocker = await asyncpg.connect(fresh_database_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE operator_commands")
    audit, row = Audit(database, tmp_path), command()
    async with asyncio.timeout(5):
        await audit.write(row)
    assert (tmp_path / FILE).exists()
    await transaction.rollback()
    await blocker.close()
    moving = asyncio.create_task(audit.run())
    await until_stored(database, [row])
    moving.cancel()


@pytest.mark.parametrize("trouble", ["full", "no directory"])
async def test_what_can_be_written_nowhere_is_refused(trouble: str, tmp_path: Path, monkeypatch) -> None:
    away = await Database.connect(AWAY)
    if trouble == "full":
        monkeypatch.setattr(audits, "MAX_FILE_BYTES", 100)
        audit = Audit(away, tmp_path)
        await audit.write(command())
    else:
        audit = Audit(away, tmp_path / "nowhere")
    with pytest.raises(AuditUnavailable, match=r"Neither the database nor operator_commands\.jsonl"):
        await audit.write(command())
    await away.close()


async def test_the_same_look_is_recorded_once_a_minute(database, tmp_path: Path) -> None:
    now = 0.0
    audit = Audit(database, tmp_path, clock=lambda: now)
    assert audit.is_new_look("ann", "cli", "tree", "")
    assert not audit.is_new_look("ann", "cli", "tree", "")
    assert audit.is_new_look("bob", "cli", "tree", "")
    now = 61.0
    assert audit.is_new_look("ann", "cli", "tree", "")
    for number in range(3000):
        audit.is_new_look("ann", "cli", "tree", str(number))
    assert len(audit._looks) <= 1000


async def test_a_schema_without_the_table_keeps_nobody_from_working(empty_database_url: str, tmp_path: Path) -> None:
    old = await Database.connect(empty_database_url)
    await Audit(old, tmp_path).write(command())
    assert (tmp_path / FILE).exists()
    await old.close()
