"""The processes of clients that listen (see channel_load.py), as the benchmark of channels starts and hears them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

from bench.channel_contestants import Contestant
from tests.running import ROOT

LOADERS: Final = 2
_ANSWER_S: Final = 90.0
_LONGEST_LINE: Final = 64 * 1024 * 1024


def shares(clients: int) -> list[int]:
    """How many clients each process has."""
    return [clients // LOADERS + (number < clients % LOADERS) for number in range(LOADERS)]


class Loaders:
    """The clients' processes."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, contestant: Contestant, clients: int) -> AsyncIterator[Loaders]:
        """So many clients, that begin to connect at once."""
        processes = []
        try:
            for share in shares(clients):
                command = ["-m", "bench.channel_load", "--port", str(contestant.port), "--path", contestant.path]
                command += ["--topic", contestant.topic, "--clients", str(share)]
                pipe = asyncio.subprocess.PIPE
                environment = {**os.environ, "BENCH_TOKEN": contestant.token}
                processes.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable,
                        *command,
                        cwd=ROOT,
                        env=environment,
                        stdin=pipe,
                        stdout=pipe,
                        limit=_LONGEST_LINE,
                    )
                )
            yield cls(processes)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    def pids(self) -> list[int]:
        """Their ids."""
        return [process.pid for process in self._processes]

    async def told(self, what: str) -> list[dict[str, Any]]:
        """The next line of each."""
        lines = []
        async with asyncio.timeout(_ANSWER_S):
            for process in self._processes:
                assert process.stdout is not None
                line = await process.stdout.readline()
                if not line:
                    raise RuntimeError("a process of clients has failed")
                lines.append(json.loads(line))
        assert all(line["what"] == what for line in lines)
        return lines

    def end(self) -> None:
        """Have them tell what they heard."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
