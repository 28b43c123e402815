"""Drives the load against a contestant: by wrk where it is installed, else by `bench.load`; in a process of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT

#: Longer than any answer should take: it counts as an error.
ANSWER_TIMEOUT_S = 10
_SCRIPT = Path(__file__).with_name("requests.lua")
_GRACE_S = 60.0
_MAX_COMPLAINT = 2_000


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw: answers, requests with a key, latencies, and what went wrong, by kind."""

    requests: int
    keyed: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds

    @property
    def failures(self) -> int:
        """How many requests or connections failed."""
        return sum(self.errors.values())


def generator() -> str:
    """What makes the load on this machine."""
    return "wrk" if shutil.which("wrk") else "bench.load"


async def load(port: int, requests: Path, prefix: str, *, connections: int, seconds: int) -> Load:
    """Load the server on `port` with so many connections for so long; `prefix` makes the keys unique among all runs.

    Raises:
        RuntimeError: the generator itself failed.
    """
    if (wrk := shutil.which("wrk")) is not None:
        command = [wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
        command += ["--timeout", f"{ANSWER_TIMEOUT_S}s", "--script", str(_SCRIPT), f"http://127.0.0.1:{port}"]
        command += ["--", str(requests), prefix]
    else:
        command = [sys.executable, "-m", "bench.load", "--port", str(port), "--requests", str(requests)]
        command += ["--prefix", prefix, "--connections", str(connections), "--seconds", str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds + _GRACE_S):
            output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    lines = [line for line in output.decode().splitlines() if line.startswith("{")]
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"{command[0]} failed:\n{output.decode()}{complaints.decode()[-_MAX_COMPLAINT:]}")
    return Load(**json.loads(lines[-1]))
