"""The database and its schema: create, migrate, roll back, and tell how they stand. For the command line and `serve`.

All that one call changes, it changes in one transaction: a failure leaves the schema as it was. Callers that collide
wait for each other on an advisory lock and then find the work done.

Loads SQLAlchemy: a process that forks actors calls `bitnexus.storage.migrator` instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from bitnexus.storage.database import application_name, reachable
from bitnexus.storage.schema_status import SchemaError, Status

__all__ = ["SchemaError", "Status", "create", "migrate", "rollback", "status"]

#: Any number will do; the same for everybody who migrates.
_LOCK = 0x42_49_54_4E_45_58_55_53 & 0x7FFF_FFFF_FFFF_FFFF
_CONNECT_TIMEOUT_S = 10.0
_LOCK_TIMEOUT_S = 60.0
#: Every PostgreSQL server has it; where one connects to create another.
_MAINTENANCE_DATABASE = "postgres"


async def create(url: str) -> bool:
    """Create the database that `url` names, if there is none; True if it was created.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
        SchemaError: the server refuses, for instance for want of the right to create databases.
    """
    with reachable():
        try:
            connection = await _connect(url)
        except asyncpg.InvalidCatalogNameError:
            connection = await _connect(url, database=_MAINTENANCE_DATABASE)
        else:
            await connection.close()
            return False
        try:
            name = _database_of(url).replace('"', '""')
            await connection.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'")
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            return False  # somebody else was faster, or even at the same time
        except asyncpg.InsufficientPrivilegeError as error:
            raise SchemaError(f"The database cannot be created: {error}.") from error
        else:
            return True
        finally:
            await connection.close()


async def migrate(url: str, to: str = "head") -> tuple[str, ...]:
    """Bring the schema up to the revision `to`; the revisions applied, none if it was there already.

    Raises:
        DatabaseUnavailable: the server cannot be reached, or another migration did not end in time.
        SchemaError: there is no such database, or it is at a revision that this version does not know.
    """
    return await _change(url, lambda config: command.upgrade(config, to))


async def rollback(url: str, steps: int = 1) -> tuple[str, ...]:
    """Undo the last `steps` revisions, or as many as there are; the revisions undone, newest first.

    Raises: as `migrate`.
    """
    if steps < 1:
        raise SchemaError("At least one step is needed to roll back.")

    def downgrade(config: Config) -> None:
        applied = _applied(ScriptDirectory.from_config(config), _current(config.attributes["connection"]))
        if applied:
            command.downgrade(config, "base" if steps >= len(applied) else applied[steps])

    return await _change(url, downgrade)


async def status(url: str) -> Status:
    """How the schema stands; waits for nobody.

    Raises: as `migrate`.
    """
    config = _config()
    script = ScriptDirectory.from_config(config)
    async with _connection(url) as connection:
        current = await connection.run_sync(_current)
    applied = _applied(script, current)
    known = _applied(script, script.get_current_head())
    return Status(current, known[0], tuple(reversed(known[: len(known) - len(applied)])))


# -- beneath -----------------------------------------------------------------------------------------------------


async def _change(url: str, run: Callable[[Config], None]) -> tuple[str, ...]:
    def locked(connection: Connection) -> tuple[str, ...]:
        # Waiting for a lock is bounded by lock_timeout; the lock ends with the transaction, however that ends.
        connection.execute(text(f"SET LOCAL lock_timeout = {int(_LOCK_TIMEOUT_S * 1000)}"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        config = _config(connection)
        script = ScriptDirectory.from_config(config)
        before = _applied(script, _current(connection))
        run(config)
        after = _applied(script, _current(connection))
        if len(after) >= len(before):
            return tuple(reversed(after[: len(after) - len(before)]))
        return before[: len(before) - len(after)]

    async with _connection(url) as connection:
        return await connection.run_sync(locked)


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction on a connection of its own, as SQLAlchemy sees it."""
    # asyncpg reads the URL itself: SQLAlchemy does not know all the forms it takes.
    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: _connect(url))
    try:
        with reachable():
            try:
                with _driver_errors():
                    async with engine.begin() as connection:
                        yield connection
            except asyncpg.InvalidCatalogNameError as error:
                raise SchemaError(
                    f"There is no database {_database_of(url)!r}: `bitnexus db create` makes it."
                ) from error
            except CommandError as error:
                raise SchemaError(f"{error}.") from error
    finally:
        await engine.dispose()


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Gives asyncpg's own exceptions out of those that SQLAlchemy wraps around them."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig else None
        raise (cause or error) from error


async def _connect(url: str, database: str | None = None) -> asyncpg.Connection[Any]:
    settings = {"application_name": application_name("schema")}
    return await asyncpg.connect(url, database=database, timeout=_CONNECT_TIMEOUT_S, server_settings=settings)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _applied(script: ScriptDirectory, revision: str | None) -> tuple[str, ...]:
    """The revisions from `revision` down to the first."""
    if revision is None:
        return ()
    try:
        return tuple(step.revision for step in script.iterate_revisions(revision, "base"))
    except (CommandError, RevisionError) as error:
        raise SchemaError(
            f"The database is at revision {revision}, which this version of BitNexus does not know: "
            "it was migrated by a newer one."
        ) from error


def _database_of(url: str) -> str:
    """The database that a URL names, in one of the two places where libpq and asyncpg look for it."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    name = unquote(parts.path.removeprefix("/")) or (options.get("dbname") or options.get("database") or [""])[0]
    if not name:
        raise SchemaError("The database's URL does not say which database.")
    return name
