"""What a run is written down as: ``bench/results/latest.json``."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from bench.generators import generator
from bench.goals import judge
from bench.jobs import Job
from bench.pgbench import program
from bench.workloads import Shape
from bitnexus import __version__
from bitnexus.config import Settings

LATEST: Final = Path(__file__).with_name("results") / "latest.json"
_PACKAGES: Final = (
    *("aiohttp", "asyncpg", "fastapi", "httptools", "msgspec", "orjson", "pydantic", "starlette", "thespian"),
    *("uvicorn", "uvloop"),
)
_SETTINGS: Final = ("fronts", "partitions", "pool_size", "max_block", "max_in_flight_per_user", "balance_cache")


def about(postgresql: Mapping[str, str]) -> dict[str, Any]:
    """What it was measured with, and on."""
    return {
        "version": __version__,
        "machine": {
            "cpus": os.cpu_count(),
            "processor": _processor(),
            "memory_bytes": psutil.virtual_memory().total,
            "system": platform.platform(),
            "nice": os.nice(0),
            "load_at_start": os.getloadavg()[0],
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": postgresql["server_version"],
            "generator": generator(),
            "pgbench": _first_line(str(program()), "--version"),
            **{name: version(name) for name in _PACKAGES},
        },
        "settings": {
            "bitnexus": {name: Settings.model_fields[name].default for name in _SETTINGS} | {"rate_limits": False},
            "postgresql": dict(postgresql),
        },
    }


def results(
    told: Mapping[str, Any],
    shape: Shape,
    jobs: Sequence[Job],
    rounds: Sequence[Mapping[str, Any]],
    *,
    started_at: float,
) -> dict[str, Any]:
    """All that is known after these rounds; `told` is `about`'s."""
    complaints = [
        f"{one['job']}, {one['contestant']}, {one['workload']}, {one['connections']} connections, "
        f"round {one['number']}: {what}"
        for one in rounds
        for what in one["complaints"]
    ]
    return {
        **told,
        "shape": {"users": shape.users, "accounts": shape.accounts, "transfers_before": shape.transfers},
        "took_s": round(time.monotonic() - started_at),
        "jobs": {
            job.name: {"title": job.title, "rounds": job.rounds, "seconds": job.seconds, "warm_up_s": job.warm_up_s}
            for job in jobs
        },
        "goals": judge(rounds),
        "complaints": complaints,
        "rounds": list(rounds),
    }


def write(found: Mapping[str, Any], path: Path = LATEST) -> None:
    """Keep it, in the place of the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(found, indent=1) + "\n")
    draft.replace(path)


def read(path: Path = LATEST) -> dict[str, Any]:
    """What was kept."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _first_line(*command: str) -> str:
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return told.stdout.splitlines()[0]
