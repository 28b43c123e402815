"""The audit of operators' commands: a row in PostgreSQL for each, whatever state PostgreSQL is in.

An operator needs the commands most when the database is away. So a row that cannot be written there goes to a file of
the data directory, is forced to the disk, and is moved to the database when it is back; it is a row's whole state, so
moving it twice does no harm. What can be written to neither is not done: a command that leaves no trace is worse than
one that has to wait for a disk.

A row is written before the command begins and again with its outcome. One without an outcome was cut off, by the end of
the process that carried it out, say.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import structlog

from bitnexus.errors import AuditUnavailable, DatabaseUnavailable
from bitnexus.storage import operator_commands
from bitnexus.storage.database import Database
from bitnexus.storage.operator_commands import CommandRow

FILE: Final = "operator_commands.jsonl"
#: How long a row may take in the database; a command does not wait for longer.
WRITE_S: Final = 1.0
RETRY_S: Final = 1.0
#: Rows in the file take about 1 KB each.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
#: The same look by the same operator is recorded once in this time: following the tree asks every second.
LOOK_AGAIN_S: Final = 60.0
_MAX_LOOKS: Final = 1_000

log = structlog.get_logger(__name__)


class Audit:
    """Writes rows; `run` moves what had to be written to the file. `clock` gives seconds and never goes back."""

    def __init__(self, database: Database, data_dir: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._path = data_dir / FILE
        self._clock = clock
        self._looks: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._writing = asyncio.Lock()
        self._waits = asyncio.Event()  # something waits in the file
        if self._path.exists():
            self._waits.set()

    async def write(self, row: CommandRow) -> None:
        """Record the row where it can be recorded. Raises AuditUnavailable: nowhere."""
        async with self._writing:
            if not self._waits.is_set():  # else it would overtake those that wait
                try:
                    await self._to_database(row)
                except DatabaseUnavailable as error:
                    log.warning("audit_waits_for_the_database", command=row.id, error=repr(error.__cause__ or error))
                else:
                    return
            try:
                await asyncio.to_thread(self._to_file, row)  # a disk may keep one waiting
            except OSError as error:
                raise AuditUnavailable(
                    f"Neither the database nor {self._path.name} takes the record: {error.strerror or error}"
                ) from error
            self._waits.set()

    def is_new_look(self, *look: str) -> bool:
        """Whether this look (who, by which way, at what) was not recorded lately."""
        now = self._clock()
        last = self._looks.get(look)
        if last is not None and now - last < LOOK_AGAIN_S:
            return False
        self._looks[look] = now
        self._looks.move_to_end(look)
        if len(self._looks) > _MAX_LOOKS:
            self._looks.popitem(last=False)
        return True

    async def run(self) -> None:
        """Move what waits in the file to the database whenever that is there; never returns."""
        while True:
            await self._waits.wait()
            if not await self._move():
                await asyncio.sleep(RETRY_S)

    async def _move(self) -> bool:
        async with self._writing:
            try:
                rows = self._read_file()
                for row in rows:
                    await self._to_database(row)
                self._path.unlink(missing_ok=True)
            except (DatabaseUnavailable, OSError) as error:
                log.info("audit_still_waits", error=repr(error))
                return False
            self._waits.clear()
            log.info("audit_moved_to_the_database", rows=len(rows))
            return True

    async def _to_database(self, row: CommandRow) -> None:
        try:
            async with asyncio.timeout(WRITE_S), self._database.connection(WRITE_S) as connection:
                await operator_commands.record(connection, row)
        except (TimeoutError, asyncpg.PostgresError) as error:  # slow, full, read only, not migrated yet
            raise DatabaseUnavailable from error

    def _to_file(self, row: CommandRow) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size >= MAX_FILE_BYTES:
                raise OSError(f"{self._path.name} is full")
            # A line that was cut off by the end of the machine must not spoil this one.
            line = b"\n" + orjson.dumps(row) + b"\n"
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{self._path.name} took a part of the record only")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read_file(self) -> list[CommandRow]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [row for line in lines if line and (row := _row(line)) is not None]


def _row(line: bytes) -> CommandRow | None:
    try:
        fields: dict[str, Any] = orjson.loads(line)
        return CommandRow(**fields)
    except (ValueError, TypeError):
        log.error("audit_line_unreadable", line=line[:200].decode(errors="replace"))  # noqa: TRY400
        return None
