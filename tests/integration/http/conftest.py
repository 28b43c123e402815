"""One service for all tests of this directory: they must not mind each other's users.

For the session, not for the package: files are run in random order, and the package would be left, and entered again,
with nearly each of them.
"""

from __future__ import annotations

import asyncpg
import pytest
import pytest_asyncio

from bitnexus.storage.embedded import EmbeddedPostgres
from tests.service import Service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(postgres: EmbeddedPostgres, template_database: str, tmp_path_factory: pytest.TempPathFactory):
    name = "of_http"  # of its own: there is one ledger to a database, and others start services on the shared one
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    await connection.close()
    running = await Service.start(postgres.url_of(name), tmp_path_factory.mktemp("service"))
    yield running
    assert await running.stop() == 0
