"""The real service as a subprocess: ``run.py`` as a user starts it, with a data directory, a port and a log of its own.

Nothing here reaches into the service: it is driven by signals and HTTP, and watched through its log lines and /proc.
Every process of a run is found by its working directory, which forks inherit, whoever their parent has become (an
environment would be overwritten by the title of the process).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
#: What the design promises for a stop in order.
STOP_PROMISED_S = 10.0
_POLL_S = 0.01
_ADDRESS = re.compile(r"ready at http://([0-9.]+):([0-9]+)")

#: Below those of Linux's ip_local_port_range: the processes of a service take theirs from there before it listens.
_PORTS = (12_000, 32_000)
_random = random.SystemRandom()  # not the tests' own: whoever seeds that would get the same port again

T = TypeVar("T")


class RunningService:
    """One run of ``run.py``: `start`, then signals; `close` leaves nothing behind, whatever happened.

    `directory`, its own, holds the data directory ``var``, what the service prints (``out``) and its log lines
    (``log``); a second run in the same directory has the same data. `environment` adds to the settings. `program`, a
    module, is run in the place of run.py.
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        program: str | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.port = free_port() if port is None else port
        inherited = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        self.environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "BITNEXUS_DATA_DIR": str(self.directory / "var"),
            "BITNEXUS_LOG_FORMAT": "json",
            "BITNEXUS_ACCESS_TOKEN_TTL_S": "86400",  # a run may be long, and logs in once
            "BITNEXUS_RATE_LIMITS": "false",
            "BITNEXUS_PARTITIONS": "2",  # more than the default: what goes wrong between two must show
            **(environment or {}),
        }
        self._command = [str(ROOT / "run.py")] if program is None else ["-m", program]
        self._log = self.directory / "log"
        self._out = self.directory / "out"
        self._log_read_to = 0
        self._pids: dict[str, int] = {}
        self.process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """The base of the service's URLs."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """The service's data directory."""
        return self.directory / "var"

    # -- from start to end ---------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start it in a process group of its own and do not wait for anything."""
        # Lines of an earlier run in this directory are not this run's.
        self._log_read_to = self._log.stat().st_size if self._log.exists() else 0
        with self._out.open("wb") as out, self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                process_group=0,
            )

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start it and wait until it prints its address."""
        self.launch()

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"run.py ended with {self.process.returncode}:\n{self.last_lines()}")
            return _ADDRESS.search(self.output()) is not None

        wait_until(ready, timeout_s, lambda: f"no address in {timeout_s} s:\n{self.last_lines()}")

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit code of ``run.py``, once it has ended by itself."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            left = "\n".join(str(found) for found in self.processes())
            raise AssertionError(f"still running after {timeout_s} s:\n{left}\n{self.last_lines()}") from None

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        """Kill whatever is left of this run."""
        if not hasattr(self, "process"):
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        for found in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.kill()
        wait_until(lambda: not self.processes(), STOP_TIMEOUT_S, lambda: f"cannot be killed: {self.processes()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- watching ------------------------------------------------------------------------------------------------

    def output(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    def log_lines(self) -> list[str]:
        """Its log so far, complete lines alone."""
        return self._log.read_text().split("\n")[:-1]

    def last_lines(self, count: int = 40) -> str:
        """The end of its log, for messages."""
        return "\n".join(self._log.read_text().splitlines()[-count:])

    def processes(self) -> list[psutil.Process]:
        """Every live process of this run, but zombies."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.directory) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def pid_of(self, name: str) -> int | None:
        """The process id of the newest process called `name` in the tree, as its supervisor told; None at first."""
        self._read_log()
        return self._pids.get(name)

    def pids(self) -> dict[str, int]:
        """The newest process of each name in the tree."""
        self._read_log()
        return dict(self._pids)

    def names(self) -> dict[int, str]:
        """What each process is, by its id: its name in the tree, ``main`` for run.py, ``postgresql``, ``thespian``."""
        self._read_log()
        known = {pid: name for name, pid in self._pids.items()} | {self.process.pid: "main"}
        found = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                other = "postgresql" if process.name() == "postgres" else "thespian"
                found[process.pid] = known.get(process.pid, other)
        return found

    def _read_log(self) -> None:
        with self._log.open("rb") as log:
            log.seek(self._log_read_to)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # its writer is in the middle of it
                self._log_read_to += len(line)
                self._note(line)

    def _note(self, line: bytes) -> None:
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            return  # not ours: a warning of the interpreter
        if event.get("event") == "supervisor_progress":
            self._pids[event["child"]] = event["child_pid"]
        elif event.get("event") == "supervisor_running" and event["process"] == "bitnexus":
            self._pids["bitnexus"] = event["pid"]

    def has_pid(self, name: str, *, other_than: int | None) -> bool:
        """Whether a process of this name is up, and not the one with the pid `other_than`."""
        pid = self.pid_of(name)
        return pid is not None and pid != other_than and psutil.pid_exists(pid)


def wait_until(condition: Callable[[], T], timeout_s: float, complaint: Callable[[], str]) -> T:
    """The first true result of `condition`; after `timeout_s` an AssertionError with what `complaint` says."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(complaint())
        time.sleep(_POLL_S)
    return result


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the kernel gives to nobody who asks it for any."""
    while True:
        port = _random.randrange(*_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_setting(name: str) -> bool:
    if name == "BITNEXUS_LOOP":  # so that everything can be tested on either loop
        return False
    ours = ("BITNEXUS_", "LEGACY_", "SECRET_KEY_BASE")
    return name.startswith(ours) or name in {"PORT", "HOST", "DATABASE_URL", "POOL_SIZE"}
