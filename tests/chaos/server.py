"""PostgreSQL as the tool's own, on a small file system of its own where that can be mounted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import psutil

from bitnexus.storage.embedded import EmbeddedPostgres

#: More than a run needs; pages that are not written take no memory.
DISK_BYTES: Final = 4 * 2**30
#: What is left free on a full disk: not even a block of the log fits in.
_ALMOST_NOTHING: Final = 2**12
_MOST_TRIES: Final = 20


class Server:
    """A durable server below `directory`; `disk` says whether its file system can be filled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.disk = _mounted(directory)
        self.embedded = EmbeddedPostgres(directory)

    @property
    def url(self) -> str:
        """Where it is."""
        return self.embedded.url

    def start(self) -> None:
        """Start it."""
        self.embedded.start()

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it in order, or as a crash would."""
        self.embedded.stop(immediate=immediate)

    def close(self) -> None:
        """Stop it for good, and give the file system back."""
        self.embedded.stop()
        if self.disk:
            subprocess.run(["umount", str(self._directory)], check=True)
            self.disk = False

    def processes(self) -> list[psutil.Process]:
        """The postmaster and its children."""
        pid = self.embedded.pid
        if pid is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(pid)
            return [postmaster, *postmaster.children(recursive=True)]
        return []

    def pause(self, seconds: float) -> None:
        """Stop all its processes, and let them go on."""
        with paused(self.processes()):
            time.sleep(seconds)

    def fill(self, seconds: float) -> bool:
        """Leave no room on the disk for a while; True if the server lived through it, else it is started again."""
        self._shrink()
        try:
            time.sleep(seconds)
        finally:
            self._resize(DISK_BYTES)
        if self.embedded.alive():
            return True
        self.stop()
        self.start()
        return False

    def _shrink(self) -> None:
        for _ in range(_MOST_TRIES):
            used = os.statvfs(self._directory)
            with contextlib.suppress(subprocess.CalledProcessError):  # it has grown meanwhile
                self._resize((used.f_blocks - used.f_bfree) * used.f_frsize + _ALMOST_NOTHING)
                return
        raise AssertionError("the disk cannot be filled: it grows too fast")

    def _resize(self, size: int) -> None:
        command = ["mount", "-o", f"remount,size={size}", str(self._directory)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def paused(processes: list[psutil.Process]) -> Iterator[None]:
    """These processes do not run in the block."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def postgresql_of(url: str) -> list[psutil.Process]:
    """The processes of the server there, if it listens at a socket of this host; by its lock file."""
    found = parse_qs(urlsplit(url).query)
    directory, port = found.get("host", [""])[0], found.get("port", ["5432"])[0]
    lock = Path(directory, f".s.PGSQL.{port}.lock")
    if not directory.startswith("/") or not lock.exists():
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        postmaster = psutil.Process(int(lock.read_text().split()[0]))
        return [postmaster, *postmaster.children(recursive=True)]
    return []


def _mounted(directory: Path) -> bool:
    """Whether a file system in memory could be mounted there: that takes root, and not every container lets it."""
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "tmpfs", str(directory)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
