"""The one seam to PostgreSQL: a pool of connections that mends itself, and what counts as "the database is away"."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import asyncpg
import orjson

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage.schema_status import SchemaError

DEFAULT_POOL_SIZE = 4
#: Waiting for a free connection, and for a new one to be established.
ACQUIRE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
#: The longest a single statement may take, unless its process says otherwise.
COMMAND_TIMEOUT_S = 30.0
_STATEMENT_CACHE_SIZE = 256
_MAX_APPLICATION_NAME_BYTES = 63

#: The server is going down or coming up, has no room, or was told to cancel a query: it passes by itself.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdowns and starts, cancelled queries
    asyncpg.InsufficientResourcesError,  # no connection, memory or disk left
    asyncpg.TransactionRollbackError,  # deadlocks
    asyncpg.InternalClientError,  # asyncpg's protocol, when it is told of a lost connection at an unlucky moment
    asyncpg.ReadOnlySQLTransactionError,  # a server that was failed over from
    asyncpg.LockNotAvailableError,
    OSError,
    TimeoutError,
)


@contextmanager
def reachable() -> Iterator[None]:
    """Turns connection trouble inside the block into `DatabaseUnavailable`; anything else passes as it is.

    What was being written when the connection was lost may be committed or not: who needs to know must look.
    """
    try:
        yield
    except _AWAY as error:
        raise DatabaseUnavailable from error
    except asyncpg.InterfaceError as error:
        # asyncpg has no class of its own for a connection or a pool that is closed, or for one that was lost while the
        # block had it: the pool takes that back at once.
        if any(word in str(error) for word in ("closed", "closing", "released back to the pool")):
            raise DatabaseUnavailable from error
        raise


@contextmanager
def migrated() -> Iterator[None]:
    """Turns a query's complaint about a missing table or column into `SchemaError`."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise SchemaError("The schema is not up to date: run `bitnexus db migrate` first.") from error


def application_name(process: str | None = None) -> str:
    """What operators see in ``pg_stat_activity``: ``bitnexus/<process>``."""
    name = f"bitnexus/{process or multiprocessing.current_process().name}"
    return name.encode("ascii", "replace")[:_MAX_APPLICATION_NAME_BYTES].decode()


class Executor(Protocol):
    """What a query runs on: a connection, or the pool, which then takes a connection for each query."""

    async def execute(self, query: str, *arguments: object) -> str:
        """The command's tag, as ``UPDATE 1``."""

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """All rows."""

    async def fetchrow(self, query: str, *arguments: object) -> Any:  # noqa: ANN401 - a row, or None
        """The first row, or None."""

    async def fetchval(self, query: str, *arguments: object) -> Any:  # noqa: ANN401 - of the column's type
        """The first column of the first row, or None."""


class Database:
    """A pool of at most `pool_size` connections of one process; made by `connect`, ended by `close`.

    A connection that was lost is replaced when the next one is needed, so after a restart of the server the first
    queries may fail with `DatabaseUnavailable` and the next work. Values of type json and jsonb are Python objects.
    """

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self.pool = pool

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        pool_size: int = DEFAULT_POOL_SIZE,
        process: str | None = None,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
        stateless: bool = False,
    ) -> Database:
        """A pool for the server at `url`, for the process named `process`.

        Connections are opened when they are needed: a process can start while the server is away. `stateless`: nobody
        leaves anything in a session (settings, locks, cursors, listeners) but a transaction, which is rolled back; so a
        connection that is given back need not be reset, which would be one more round trip for each read.
        """
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=pool_size,
            init=_set_codecs,
            reset=_leave if stateless else None,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
            statement_cache_size=_STATEMENT_CACHE_SIZE,
            server_settings={
                "application_name": application_name(process),
                "timezone": "UTC",
                # A process that hangs in a transaction must not hold its locks for ever.
                "idle_in_transaction_session_timeout": "60s",
            },
        )
        return cls(pool)

    @asynccontextmanager
    async def connection(
        self, timeout_s: float = ACQUIRE_TIMEOUT_S
    ) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[Any]]:
        """A connection of the pool for this block.

        Raises:
            DatabaseUnavailable: none to be had within `timeout_s`, or the connection failed in the block.
        """
        with reachable():
            async with self.pool.acquire(timeout=timeout_s) as connection:
                yield connection

    async def healthy(self, timeout_s: float = 1.0) -> bool:
        """True if a query is answered within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s), self.connection(timeout_s) as connection:
                return bool(await connection.fetchval("SELECT true"))
        except (DatabaseUnavailable, TimeoutError):
            return False

    async def close(self, timeout_s: float = 5.0) -> None:
        """Close all connections; those still at work after `timeout_s` are cut."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.pool.close()
        except TimeoutError:
            self.pool.terminate()


async def _leave(connection: asyncpg.Connection[Any]) -> None:
    """Instead of a reset; asyncpg has ended the transaction, if there was one."""


async def _set_codecs(connection: asyncpg.Connection[Any]) -> None:
    for type_name in ("json", "jsonb"):
        await connection.set_type_codec(
            type_name, schema="pg_catalog", encoder=_to_json, decoder=orjson.loads, format="text"
        )


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()
