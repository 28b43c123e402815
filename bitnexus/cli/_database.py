"""The database that a command works on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from bitnexus.config import get_settings
from bitnexus.storage.embedded import EmbeddedServerError, borrow

Found = TypeVar("Found")

#: A pass over a long ledger takes its time, and whoever asked for it sits at a terminal and can end it.
LONGEST_STATEMENT_S = 3_600.0


@contextmanager
def database_url() -> Iterator[str]:
    """DATABASE_URL; without it the embedded server's, which is started for this block unless it runs already."""
    settings = get_settings()
    if settings.database_url is not None:
        yield settings.database_url
        return
    try:
        with borrow(settings.data_dir) as url:
            yield url
    except EmbeddedServerError as error:
        # Shown line by line: it may hold the end of the server's log.
        raise click.ClickException(error.detail) from error


def at_one_moment(run: Callable[[Any], Awaitable[Found]]) -> Found:
    """What `run` finds at one moment of the database; it gets a connection that can only read."""
    from bitnexus.storage.database import Database, migrated

    async def connected(url: str) -> Found:
        database = await Database.connect(
            url, pool_size=1, process="ledger-books", command_timeout_s=LONGEST_STATEMENT_S
        )
        try:
            async with database.connection() as db, db.transaction(isolation="repeatable_read", readonly=True):
                with migrated():
                    return await run(db)
        finally:
            await database.close()

    with database_url() as url:
        return asyncio.run(connected(url))
