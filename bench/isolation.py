"""Runs a program of the bench in a directory and, where the kernel allows it, in a network of its own.

Whatever happens, nothing of it is left: every process of a run is found by its working directory, which forks inherit.
In the network namespace there is nothing but the loopback interface, so that nobody can reach the ports of a contestant
that listens on all interfaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
_OWN_NETWORK = ("unshare", "--map-root-user", "--net")
_GONE_WITHIN_S = 5


class ProgramFailed(Exception):
    """A program of the bench did not come to its end; the text says how it ended."""


def own_network() -> tuple[str, ...]:
    """What to put before a command so that it has a network of its own; nothing where that is not possible."""
    if (
        shutil.which(_OWN_NETWORK[0])
        and subprocess.run([*_OWN_NETWORK, "true"], capture_output=True, check=False).returncode == 0
    ):
        return _OWN_NETWORK
    return ()


def run(module: str, arguments: Sequence[object], *, timeout_s: float, prefix: Sequence[str] = ()) -> dict[str, float]:
    """Run `python -m module arguments` and read the JSON object that is the last line of its output.

    Raises ProgramFailed, with the end of what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as name:
        directory = Path(name).resolve()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BITNEXUS_DATA_DIR": str(directory / "var"),
            "THESPIAN_BASE_IPADDR": "127.0.0.1",
        }
        command = [*prefix, sys.executable, "-m", module, *map(str, arguments)]
        # Into a file: a child that lives on would keep a pipe open.
        with (directory / "out").open("w+") as out:
            program = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                code: int | None = program.wait(timeout_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end_all_in(directory)
                program.wait(_GONE_WITHIN_S)
            out.seek(0)
            lines = out.read().splitlines()
        if code == 0 and lines:
            with contextlib.suppress(ValueError):
                results: dict[str, float] = json.loads(lines[-1])
                return results
        ended = f"did not end in {timeout_s:.0f} s" if code is None else f"ended with {code}"
        raise ProgramFailed("\n".join([f"{module} {ended}", *lines[-20:]]))


def _end_all_in(directory: Path) -> None:
    """Kill every process that works in `directory`, until there is none."""
    while left := [process for process in psutil.process_iter() if _works_in(process, directory)]:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, _GONE_WITHIN_S)


def _works_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(directory))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
