"""Schemathesis against a whole service, with all its checks: every operation, as a user and as an admin.

`hold` starts a service on a PostgreSQL database, and the command line of schemathesis against it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from bitnexus.tokens import AccessTokens
from tests.running import ROOT
from tests.service import Service

HERE = Path(__file__).parent
#: A token of no session, as `bitnexus user token` makes it: no logout can end it.
TOKEN_S = 24 * 3600
#: Nobody is limited, and no answer waits for long.
SETTINGS = {"BITNEXUS_RATE_LIMITS": "false", "BITNEXUS_FRONTS": "1"}


async def hold(
    database_url: str, directory: Path, *, examples: int, options: tuple[str, ...] = (), timeout_s: float
) -> tuple[int, str]:
    """The exit code of schemathesis (0: no failure of either), and what it has printed."""
    service = await Service.start(database_url, directory, **SETTINGS)
    try:
        admin, user = await service.admin(), await service.register()
        tokens = AccessTokens(service.environment["SECRET_KEY_BASE"], TOKEN_S)
        said = []
        for who, role in ((user, "user"), (admin, "admin")):
            call = (
                f"--max-examples={examples}",
                f"--header=Authorization: Bearer {tokens.issue(who.id, role)}",
                *options,
            )
            code, output = await _run(service, directory, call, timeout_s)
            said.append(f"As {role}:\n{output}")
            if code != 0:
                break
        return code, "\n".join(said)
    finally:
        stopped = await service.stop()
        assert stopped == 0, stopped


async def _run(service: Service, directory: Path, options: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{service.running.address}/api/openapi.json",
        "--checks=all",
        "--wait-for-schema=60",
        *options,
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.contract.hooks", "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, output.decode()
