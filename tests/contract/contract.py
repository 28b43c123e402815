"""Schemathesis against a whole service, with all its checks: every operation of the document, as an admin.

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
    """The exit code of schemathesis (0: no failure), and what it has printed."""
    service = await Service.start(database_url, directory, **SETTINGS)
    try:
        admin = await service.admin()
        secret = service.environment["SECRET_KEY_BASE"]
        token = AccessTokens(secret, TOKEN_S).issue(admin.id, "admin")
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            f"{service.running.address}/api/openapi.json",
            "--checks=all",
            f"--max-examples={examples}",
            "--wait-for-schema=60",
            f"--header=Authorization: Bearer {token}",
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
    finally:
        stopped = await service.stop()
        assert stopped == 0, stopped
