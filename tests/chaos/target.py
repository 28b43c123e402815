"""The node that is broken: one that the tool starts, or one that runs already on this host.

Its processes are found by their titles below the process that the operator started (here: the heart). The heart of a
node of one's own is started again when it was killed, as systemd would.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import psutil

from bitnexus.config import get_settings, node_file
from bitnexus.storage.embedded import borrow
from tests.chaos.clock import set_offset
from tests.chaos.server import Server
from tests.running import START_TIMEOUT_S, STOP_PROMISED_S, RunningService, wait_until

_TITLE: Final = "bitnexus: "
_ROOT: Final = "bitnexus"
#: Tells the program where its clock is.
CLOCK: Final = "CHAOS_CLOCK"


class Target:
    """What both have. `skipped`: kinds of faults that cannot be done to it, each with the reason."""

    def __init__(self, port: int, directory: Path, environment: Mapping[str, str]) -> None:
        self.port = port
        self.directory = directory
        self.environment = dict(environment)
        self._data_dir = Path(self.environment["BITNEXUS_DATA_DIR"])
        self.skipped: dict[str, str] = {}
        self.server: Server | None = None

    @property
    def address(self) -> str:
        """The base of its URLs."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        """Its database, as it finds it."""
        raise NotImplementedError

    @property
    def heart_pid(self) -> int | None:
        """The process that the operator started, if it is the tool's own."""
        return None

    def revive(self) -> None:
        """Start the heart again, if it is dead and the tool's own."""

    def jump(self, seconds: float) -> None:
        """Set the node's clock so far off the true one."""
        raise NotImplementedError

    def processes(self) -> dict[str, int]:
        """The process ids by name: those of the tree, ``root``, ``admin``, ``logger``, ``heart``; of what is up.

        Thespian's admin is nobody's child: it is found as the parent of the root, which the node has published.
        """
        found = {} if self.heart_pid is None else {"heart": self.heart_pid}
        published = node_file.read_published(self._data_dir)
        if published is None:
            return found
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(published.pid)
            admin = root.parent()
            if _name(root) != _ROOT or admin is None:
                return found
            found |= {"root": root.pid, "admin": admin.pid}
            for other in admin.children():
                if other.pid != root.pid:
                    found["logger"] = other.pid
            for process in root.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    name = _name(process)
                    if name is not None and process.status() != psutil.STATUS_ZOMBIE:
                        found[name] = process.pid
        return found

    def named(self, target: str, number: int) -> tuple[str, int] | None:
        """The process that a schedule means: of partitions and fronts one of those that there are."""
        there = self.processes()
        prefix = {"partition": "transactions-", "front": "http-"}.get(target)
        names = sorted(name for name in there if name.startswith(prefix)) if prefix else [target]
        if not names or names[number % len(names)] not in there:
            return None
        name = names[number % len(names)]
        return name, there[name]

    def fronts(self) -> dict[str, int]:
        """The fronts that there are."""
        return {name: pid for name, pid in self.processes().items() if name.startswith("http-")}

    def listens(self) -> bool:
        """Whether somebody takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Own(Target):
    """A node with a database, below `directory`; a context manager."""

    def __init__(self, directory: Path) -> None:
        server = Server(directory / "database")
        node = directory / "node"
        node.mkdir()
        self._clock = node / "clock"
        environment = {"BITNEXUS_PROFILE": "test", "SECRET_KEY_BASE": "chaos-" * 12}
        skipped = {}
        if not server.disk:
            skipped["fill disk"] = "no file system can be mounted: that takes root"
        set_offset(self._clock, 0.0)
        environment[CLOCK] = str(self._clock)
        try:
            server.start()
            environment["DATABASE_URL"] = server.url
            self._running = RunningService(node, environment, program="tests.chaos.program")
        except BaseException:
            server.close()
            raise
        super().__init__(self._running.port, node, self._running.environment)
        self.skipped = skipped
        self.server = server

    def __enter__(self) -> Self:
        try:
            self._running.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server is not None
        try:
            self._running.close()
        finally:
            self.server.close()

    @property
    def database_url(self) -> str:
        assert self.server is not None
        return self.server.url

    @property
    def heart_pid(self) -> int | None:
        return self._running.process.pid

    def revive(self) -> None:
        if self._running.process.poll() is not None:
            before = self._running.processes()
            # What it left behind stops by itself, and has the port until then.
            _, left = psutil.wait_procs(before, timeout=START_TIMEOUT_S)
            assert not left, f"still there after {START_TIMEOUT_S} s without the heart: {left}"
            self._running.launch()

    def jump(self, seconds: float) -> None:
        set_offset(self._clock, seconds)

    def ended(self) -> int | None:
        """The heart's exit code, if it has ended."""
        return self._running.process.poll()

    def stop(self) -> list[str]:
        """Stop it in order; what is wrong with its end."""
        begun_at = time.monotonic()
        self._running.process.terminate()
        code, took_s = self._running.wait(START_TIMEOUT_S), time.monotonic() - begun_at
        wrong = {
            f"SIGTERM: exit code {code}\n{self.last_lines()}": code != 0,
            f"SIGTERM: it took {took_s:.1f} s": took_s > STOP_PROMISED_S,
            f"SIGTERM: it left {self._running.processes()}": self._running.processes() != [],
            "SIGTERM: somebody listens still": self.listens(),
        }
        return [words for words, is_so in wrong.items() if is_so]

    def last_lines(self, count: int = 40) -> str:
        """The end of its log."""
        return self._running.last_lines(count)

    def log_lines(self) -> list[str]:
        """Its log."""
        return self._running.log_lines()


class Running(Target):
    """The node of the data directory in the settings; it must run on this host, as this user or under root."""

    def __init__(self) -> None:
        settings = get_settings()
        super().__init__(settings.port, Path.cwd(), {**os.environ, "BITNEXUS_DATA_DIR": str(settings.data_dir)})
        self._url = settings.database_url
        own = "only for a node that the tool starts"
        self.skipped = dict.fromkeys(
            ("restart postgresql", "crash postgresql", "fill disk", "block", "poison user", "jump clock"), own
        )
        wait_until(lambda: "root" in self.processes(), START_TIMEOUT_S, lambda: f"no node runs in {settings.data_dir}")

    @property
    def database_url(self) -> str:
        if self._url is None:
            with borrow(self._data_dir) as url:  # the node's own server: it has one, or it would not run
                self._url = url
        return self._url


def _name(process: psutil.Process) -> str | None:
    """As the process calls itself, in its title."""
    title = (process.cmdline() or [""])[0]
    return title.removeprefix(_TITLE).strip() if title.startswith(_TITLE) else None
