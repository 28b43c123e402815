"""The PostgreSQL that everybody shares: a clean embedded one with fsync, or the one of ``DATABASE_URL``.

Every contestant has a database of its own in it; those in a server that is not ours are dropped at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import asyncpg

from bitnexus.storage import cluster
from bitnexus.storage.embedded import EmbeddedPostgres

#: The pools of all contestants at once, and pgbench's clients: far more than the service alone needs.
CONNECTIONS: Final = 300
_SHOWN: Final = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_connections", "max_wal_size")


class Server(Protocol):
    """A PostgreSQL server that may be used."""

    @property
    def url(self) -> str:
        """A database to begin with."""

    def url_of(self, database: str) -> str:
        """Another database of the server."""

    @property
    def pid(self) -> int | None:
        """The server's process; None when it is not on this machine, or not ours."""


class GivenServer:
    """The server of ``DATABASE_URL``; databases get a prefix of this run."""

    pid = None

    def __init__(self, url: str) -> None:
        self.url = url
        self._prefix = f"bench_{secrets.token_hex(4)}"

    def url_of(self, database: str) -> str:
        """See `Server`."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{self._prefix}_{database}"))

    async def drop_databases(self) -> None:
        """Drop what this run has made; contestants must have ended."""
        connection = await asyncpg.connect(self.url)
        try:
            rows = await connection.fetch(
                "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self._prefix
            )
            for row in rows:
                await connection.execute(f'DROP DATABASE "{row["datname"]}"')
        finally:
            await connection.close()


@contextlib.contextmanager
def shared_server(directory: Path) -> Iterator[Server]:
    """The one of ``DATABASE_URL``, else an embedded one below `directory`."""
    if given := os.environ.get("DATABASE_URL"):
        server = GivenServer(given)
        try:
            yield server
        finally:
            asyncio.run(server.drop_databases())
        return
    cluster.SETTINGS["max_connections"] = str(CONNECTIONS)  # in this process alone
    with EmbeddedPostgres(directory) as embedded:
        yield embedded


async def create_database(server: Server, url: str) -> None:
    """Create the database that `url`, of this server, names."""
    await execute(server.url, f'CREATE DATABASE "{database_of(url)}"')


async def execute(url: str, statement: str) -> None:
    """Run a statement, or several."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def ask(url: str, query: str) -> Any:  # noqa: ANN401 - of the column's type
    """A query's one value."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def described(server: Server) -> dict[str, str]:
    """Its version, and the settings that matter most."""
    connection = await asyncpg.connect(server.url)
    try:
        return {name: str(await connection.fetchval(f"SHOW {name}")) for name in _SHOWN}
    finally:
        await connection.close()


def database_of(url: str) -> str:
    """The name of the database."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def libpq_environment(url: str) -> dict[str, str]:
    """How libpq's programs are told the same as by `url`: by variables, for a password must not be an argument."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    found = {
        "PGHOST": options.get("host") or parts.hostname,
        "PGPORT": options.get("port") or (str(parts.port) if parts.port else None),
        "PGUSER": unquote(parts.username) if parts.username else options.get("user"),
        "PGPASSWORD": unquote(parts.password) if parts.password else options.get("password"),
        "PGSSLMODE": options.get("sslmode"),
        "PGDATABASE": database_of(url),
    }
    return {name: value for name, value in found.items() if value}
