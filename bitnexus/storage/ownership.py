"""One owner at a time for a data directory: an flock that the kernel drops when its holder dies, however it dies.

The lock file tells who holds it and where the server answers, so that a command can use the server of a running
``bitnexus serve``, and so that a refusal can name the owner.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import weakref
from pathlib import Path

from bitnexus.errors import BitNexusError

#: Children forked by a killed owner may hold the lock for the moment they need to notice and end.
LOCK_PATIENCE_S = 3.0
_MAX_LENGTH_BYTES = 4096


class EmbeddedServerError(BitNexusError):
    """The embedded PostgreSQL cannot do what was asked; the message is for the operator of this machine."""

    code, title = "embedded_server", "The embedded PostgreSQL failed"


class DataDirectoryInUse(EmbeddedServerError):
    """Another process, `pid`, owns the data directory; `url` is its server's, once that answers."""

    code, title = "data_directory_in_use", "The data directory is in use"

    def __init__(self, detail: str | None = None, *, pid: int | None = None, url: str | None = None) -> None:
        super().__init__(detail)
        self.pid, self.url = pid, url


class Ownership:
    """The right to run a server in a data directory; held from `acquire` until `release` or this process's end.

    Not inherited: children forked later close their copy of the lock at once.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        _held.add(self)

    @classmethod
    def acquire(cls, data_dir: Path, patience_s: float = LOCK_PATIENCE_S) -> Ownership:
        """Take the lock `data_dir`/postgresql.lock.

        Raises:
            DataDirectoryInUse: a live process holds it; or a dead one's children do, for longer than `patience_s`.
        """
        path = data_dir / "postgresql.lock"
        deadline = time.monotonic() + patience_s
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                locked = _try_lock(descriptor)
                if locked and not _is_at(descriptor, path):
                    continue  # the file of an owner who gave it up just now
                pid, url = _read(descriptor)
                if locked:
                    ownership = cls(path, descriptor)
                    descriptor = -1
                    ownership.publish(None)
                    return ownership
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            if (pid is not None and _exists(pid)) or time.monotonic() > deadline:
                owner = f"process {pid}" if pid is not None else "another process"
                detail = f"The data directory {data_dir} is in use by {owner}: one BitNexus runs in it at a time."
                raise DataDirectoryInUse(detail, pid=pid, url=url)
            time.sleep(0.02)

    def publish(self, url: str | None) -> None:
        """Write into the lock file who owns it and, once it answers, the `url` of the server."""
        if self._descriptor is None:
            raise EmbeddedServerError("The data directory was given free.")
        text = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Give the directory free and remove the lock file; nothing if that was done before."""
        if self._descriptor is not None:
            # Removed while still locked; whoever opened it in the meantime sees that it is gone and tries again.
            self._path.unlink(missing_ok=True)
            self.abandon()

    def abandon(self) -> None:
        """Close this process's copy of the lock, leaving the lock itself to the process that took it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _held.discard(self)


_held: weakref.WeakSet[Ownership] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for ownership in list(_held):
        ownership.abandon()


os.register_at_fork(after_in_child=_leave_to_parent)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> tuple[int | None, str | None]:
    try:
        owner = json.loads(os.pread(descriptor, _MAX_LENGTH_BYTES, 0))
        return int(owner["pid"]), owner["url"]
    except (ValueError, KeyError, TypeError):
        return None, None  # just created, or its owner died while writing it


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
