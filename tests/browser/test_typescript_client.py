"""clients/typescript, built by the strict compiler and run under node against the real service."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.browser.node_client import installed_packages, node_and_npm
from tests.running import ROOT
from tests.service import Service

HERE = ROOT / "clients" / "typescript"
ENOUGH_S = 60.0


async def run(*command, **environment):
    """What it printed; AssertionError with that if it fails."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(ENOUGH_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
async def service(fresh_database_url, tmp_path):
    directory = tmp_path / "service"
    directory.mkdir()
    running = await Service.start(fresh_database_url, directory, BITNEXUS_FRONTS="1", BITNEXUS_PARTITIONS="1")
    yield running
    assert await running.stop() == 0


@pytest.mark.timeout(180)  # the first run installs the compiler
async def test_the_typescript_client_is_well_typed_and_its_own_tests_pass(service, tmp_path):
    packages, (node, _) = installed_packages(HERE), node_and_npm()
    built = tmp_path / "built"
    compiler = packages / "node_modules" / "typescript" / "lib" / "tsc.js"
    await run(*node, compiler, "--project", HERE / "tsconfig.json", "--outDir", built)
    (built / "package.json").write_text('{"type": "module"}')
    admin = await service.admin()
    output = await run(
        *(*node, "--test", "--test-reporter=tap", HERE / "test" / "client.test.mjs"),
        BITNEXUS_URL=f"http://127.0.0.1:{service.port}",
        BITNEXUS_ADMIN_TOKEN=admin.token,
        BITNEXUS_CLIENT=str(built / "index.js"),
    )
    assert "# pass 9" in output
    assert "# fail 0" in output
