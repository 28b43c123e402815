"""Fixtures for everybody: a real PostgreSQL, made once per session, and databases in it."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import asyncpg
import hypothesis
import pytest

from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres

# How long an example takes is the machine's affair: no property promises it.
hypothesis.settings.register_profile("patient", deadline=None, print_blob=True)
hypothesis.settings.load_profile("patient")

_TEMPLATE = "migrated"
_DROPS = 25
_numbers = itertools.count(1)

# A shell that starts the tests in the background has them ignore Ctrl-C; what they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: begun last, they would keep one processor busy and the others waiting."""
    long = {item.path for item in items if item.get_closest_marker("long") is not None}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The session's server; without durability, for speed. Tests about durability start their own."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that nobody connects to: new ones are copies of it."""
    _run(_execute(postgres.url, f"CREATE DATABASE {_TEMPLATE}"))
    _run(schema.migrate(postgres.url_of(_TEMPLATE)))
    return _TEMPLATE


@pytest.fixture(scope="session")
def database_url(postgres: EmbeddedPostgres, template_database: str) -> str:
    """The URL of one migrated database for the whole session: tests that use it must not mind each other."""
    _run(_execute(postgres.url, f"CREATE DATABASE shared TEMPLATE {template_database}"))
    return postgres.url_of("shared")


@pytest.fixture
def fresh_database_url(postgres: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own."""
    name = f"fresh_{next(_numbers)}"
    _run(_execute(postgres.url, f"CREATE DATABASE {name} TEMPLATE {template_database}"))
    yield postgres.url_of(name)
    _run(_drop(postgres.url, name))


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    name = f"empty_{next(_numbers)}"
    _run(_execute(postgres.url, f"CREATE DATABASE {name}"))
    yield postgres.url_of(name)
    _run(_drop(postgres.url, name))


async def _drop(url: str, name: str) -> None:
    for left in reversed(range(_DROPS)):
        try:
            await _execute(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        except asyncpg.InsufficientPrivilegeError:  # the server's own vacuum is in it, which only a superuser may end
            if not left:
                raise
            await asyncio.sleep(0.2)
        else:
            return


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _run(work: Coroutine[Any, Any, object]) -> None:
    # With a loop factory the runner leaves the thread's current loop, which belongs to pytest's plugins, alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(work)
