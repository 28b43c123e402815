"""The embedded PostgreSQL: a server of our own below the data directory, for everybody who has not set DATABASE_URL.

    with EmbeddedPostgres(Path("var")) as server:
        run(server.url)

What lies where, below the data directory:

    postgresql.lock     held by the owning process; tells its pid and the server's URL (gone when nobody owns it)
    postgresql.log      the server's messages; the one before is postgresql.log.1
    postgresql/18/      the cluster
    postgresql/run/     its unix socket, the only way in

**Owner.** One process owns the server: it starts it, asks `alive`, and stops it. A second one is refused with
`DataDirectoryInUse`. Processes forked by the owner only use the URL. The server runs in a session of its own, so
Ctrl-C reaches the owner alone.

**After a crash.** If the owner was killed, its server may still run. It is stopped by the next start and started anew,
not adopted: connections of lost processes end with it, its settings are the present ones, and it is a child again.
Only a process that is proved to be the server of this very directory is ever signalled (see `postmaster`); a pid file
that names anybody else is disowned.

**Root.** PostgreSQL refuses root, so it then runs as an account of its own (see `server_account`), which owns
``postgresql/`` and nothing else. It is started *in* its cluster and never needs a directory above (see `cluster`);
programs it cannot reach are copied (see `server_binaries`). So no permission outside the data directory changes.

**Socket.** A socket's path is limited to 107 bytes. If it would be longer, clients go through a symbolic link in a
short private directory, ``/tmp/bitnexus-<uid>-<digest>`` (mode 0700), that is removed at stop.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from bitnexus.storage import cluster as layout
from bitnexus.storage import leftover, server_account, server_binaries, server_probe
from bitnexus.storage.cluster import Cluster
from bitnexus.storage.ownership import DataDirectoryInUse, EmbeddedServerError, Ownership
from bitnexus.storage.running_process import RunningProcess

__all__ = ["DataDirectoryInUse", "EmbeddedPostgres", "EmbeddedServerError", "borrow"]

#: Recovery after a crash replays at most about `max_wal_size`.
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
_REAP_TIMEOUT_S = 5.0
#: Backends of a killed server notice within moments; one in the middle of a query may take longer.
_ORPHANS_TIMEOUT_S = 15.0
_POLL_S = 0.01
_MAX_LOG_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 3000
_MAX_SOCKET_PATH_BYTES = 107
_PRIVATE = 0o700
_SOCKET_NAME = f".s.PGSQL.{layout.PORT}"


class EmbeddedPostgres:
    """A PostgreSQL server for this process and its children; a context manager, or `start` and `stop`.

    `durable=False` is for tests' throw-away data: no protection against a power failure.
    """

    def __init__(self, data_dir: Path | str, *, durable: bool = True) -> None:
        # Resolved, so that the cluster can be compared with what /proc says of a server left running.
        self.data_dir = Path(data_dir).expanduser().resolve()
        self._durable = durable
        self._home = self.data_dir / "postgresql"
        self._directory = self._home / str(server_binaries.MAJOR_VERSION)
        self._log = self.data_dir / "postgresql.log"
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        self._mark = f"--cluster_name=bitnexus-{digest}"
        self._short = Path(tempfile.gettempdir(), f"bitnexus-{os.geteuid()}-{digest}")
        self._made_short = False
        self._ownership: Ownership | None = None
        self._owner_pid: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._process: RunningProcess | None = None

    @property
    def socket_directory(self) -> Path:
        """The directory under which clients find the socket."""
        directory = self._home / "run"
        if len(os.fsencode(directory / _SOCKET_NAME)) > _MAX_SOCKET_PATH_BYTES:
            return self._short / "run"
        return directory

    @property
    def url(self) -> str:
        """How to reach the database ``bitnexus``, as its owner; for this user's processes and root's."""
        return self.url_of(layout.DATABASE)

    def url_of(self, database: str) -> str:
        """How to reach another database of the server."""
        host = quote(str(self.socket_directory))
        return f"postgresql://{layout.ROLE}@/{quote(database, safe='')}?host={host}&port={layout.PORT}"

    @property
    def pid(self) -> int | None:
        """The server's process, or None before `start` and after `stop`."""
        return self._process.pid if self._process else None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Start the server and return its `url` once it answers; the cluster is made if there is none.

        Raises:
            DataDirectoryInUse: another live process owns the data directory.
            EmbeddedServerError: anything else; with the end of the server's log, if it got that far.
        """
        if self._ownership is not None:
            raise EmbeddedServerError(f"The server in {self.data_dir} was started before.")
        deadline = time.monotonic() + timeout_s
        try:
            self.data_dir.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._ownership = Ownership.acquire(self.data_dir)
            self._owner_pid = os.getpid()
            self._bring_up(deadline)
            self._ownership.publish(self.url)
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise EmbeddedServerError(f"PostgreSQL cannot start in {self.data_dir}: {error}.") from error
            raise
        return self.url

    def stop(self, timeout_s: float = STOP_TIMEOUT_S, *, immediate: bool = False) -> None:
        """Stop the server, orderly or as in a crash (`immediate`), and give the data directory free.

        Open transactions are rolled back. What does not stop in `timeout_s` is killed; nothing acknowledged is lost by
        that. Does nothing if the server was not started.
        """
        if self._ownership is None:
            return
        if self._owner_pid != os.getpid():
            raise EmbeddedServerError("Only the process that started the server may stop it.")
        if self._process is not None:
            leftover.end(self._process, 0.0 if immediate else timeout_s)
            self._forget_process()
        self._remove_socket()
        self._remove_short_directory()
        self._ownership.release()
        self._ownership = None

    def alive(self) -> bool:
        """True while the server's process runs; costs one system call. If not: `stop`, then `start` again."""
        return self._process is not None and not self._process.wait(0)

    def healthy(self, timeout_s: float = 1.0) -> bool:
        """True if a session can be opened within `timeout_s`; blocks for that long at most."""
        return self.alive() and server_probe.accepts_sessions(
            self.socket_directory / _SOCKET_NAME, user=layout.ROLE, database=layout.DATABASE, timeout_s=timeout_s
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- starting ------------------------------------------------------------------------------------------------

    def _bring_up(self, deadline: float) -> None:
        account = server_account.choose(self._directory)
        programs = server_binaries.directory_for(account)
        cluster = Cluster(self._directory, programs, account, durable=self._durable)
        for directory in (self._home, self._home / "run"):
            if not directory.exists():
                directory.mkdir(mode=_PRIVATE)
                if account.foreign:
                    os.chown(directory, account.uid, account.gid)
        leftover.deal_with(self._directory, account, self._mark, stop_timeout_s=STOP_TIMEOUT_S)
        self._remove_socket()  # its own lock file names a pid, too
        if not cluster.exists():
            cluster.create()
        self._link_short_directory()
        self._rotate_log()
        orphans_deadline = min(deadline, time.monotonic() + _ORPHANS_TIMEOUT_S)
        while not self._launch(cluster, deadline, orphans_deadline):
            time.sleep(0.1)

    def _launch(self, cluster: Cluster, deadline: float, orphans_deadline: float) -> bool:
        """Start the server; False if backends of a killed one are still about and it is worth trying again."""
        with os.fdopen(_open_log(self._log), "ab") as log:
            since = log.tell()
            command = cluster.server_command(self._mark)
            self._child = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command, stdout=log, stderr=log, **cluster.popen_options()
            )
        self._process = process = RunningProcess.hold(self._child.pid)
        if process is None:
            raise EmbeddedServerError("The server's process was reaped by somebody else: SIGCHLD must not be ignored.")
        while not self.healthy(timeout_s=max(_POLL_S, min(1.0, deadline - time.monotonic()))):
            if not self.alive():
                tail = self._tail(since)
                self._forget_process()
                if "shared memory block" in tail and time.monotonic() < orphans_deadline:
                    return False
                raise EmbeddedServerError(f"PostgreSQL did not start in {self._directory}. Its log says:\n{tail}")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"PostgreSQL did not answer in time in {self._directory}. Its log says:\n{self._tail(since)}"
                )
            process.wait(_POLL_S)
        return True

    def _forget_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._child is not None:
            self._child.wait(timeout=_REAP_TIMEOUT_S)  # reap it
            self._child = None

    def _tail(self, since: int) -> str:
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(since, size - _TAIL_BYTES))
            return log.read(_TAIL_BYTES).decode(errors="replace").strip() or "(nothing)"

    def _rotate_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > _MAX_LOG_BYTES:
            self._log.replace(self._log.with_name(f"{self._log.name}.1"))

    def _remove_socket(self) -> None:
        """Remove what a server leaves that was killed."""
        for name in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
            (self._home / "run" / name).unlink(missing_ok=True)

    def _link_short_directory(self) -> None:
        link = self.socket_directory
        if link.parent != self._short:
            return
        with contextlib.suppress(FileExistsError):
            self._short.mkdir(mode=_PRIVATE)
        found = self._short.lstat()
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) != _PRIVATE:
            raise EmbeddedServerError(f"{self._short} should be a private directory of ours, but it is not.")
        self._made_short = True
        link.unlink(missing_ok=True)
        link.symlink_to(self._home / "run")

    def _remove_short_directory(self) -> None:
        if self._made_short:
            self._made_short = False
            self.socket_directory.unlink(missing_ok=True)
            self._short.rmdir()


@contextlib.contextmanager
def borrow(data_dir: Path | str, timeout_s: float = START_TIMEOUT_S) -> Iterator[str]:
    """The URL of the server of `data_dir`: of the one that runs already, else of one started for this block.

    Raises:
        EmbeddedServerError: it cannot be started, or its owner did not get it ready within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    server = EmbeddedPostgres(data_dir)
    while True:
        try:
            url = server.start()
        except DataDirectoryInUse as taken:
            if taken.url is None and time.monotonic() < deadline:
                time.sleep(_POLL_S)  # its owner is starting it or stopping it
                continue
            if taken.url is None:
                raise
            url = taken.url
        break
    try:
        yield url
    finally:
        server.stop()


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
