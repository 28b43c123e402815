"""One service for all tests of this directory: they must not mind each other's users.

For the session, not for the package: files are run in random order, and the package would be left, and entered again,
with nearly each of them.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.service import Service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(database_url: str, tmp_path_factory: pytest.TempPathFactory):
    running = await Service.start(database_url, tmp_path_factory.mktemp("service"))
    yield running
    assert await running.stop() == 0
