"""A PostgreSQL cluster on disk: how it is made, and the settings its server is started with.

The cluster is named to the programs as ``/proc/self/cwd``, and they are started *in* it: its account then needs no
permission on any directory above, so that a cluster below ``/root`` works and nothing there has to be opened. All
settings are arguments of the server; no file in the cluster is edited after it was made.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnexus.storage.ownership import EmbeddedServerError
from bitnexus.storage.server_account import Account

#: How the programs call the directory they are started in.
HERE = "/proc/self/cwd"
SUPERUSER = "postgres"
ROLE = DATABASE = "bitnexus"
PORT = 5432
_INITDB_TIMEOUT_S = 120.0

#: For a machine with 2 cores and 1 GB up, shared with the service itself.
SETTINGS: dict[str, str] = {
    "listen_addresses": "",  # the unix socket is the only way in
    "port": str(PORT),  # merely part of the socket's name
    "unix_socket_directories": "../run",
    "unix_socket_permissions": "0700",
    "max_connections": "100",  # ledger, partitions, notifier and fronts, 4 each, with room for an operator
    "shared_buffers": "128MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "64MB",
    "huge_pages": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "1GB",  # 1 GB of log between checkpoints: about the largest recovery after a crash
    "checkpoint_timeout": "10min",
    "io_method": "sync",  # saves three processes; the working set is in memory
    # A query ends with its client; so do the backends of a server and an owner that were both killed.
    "client_connection_check_interval": "1s",
    "jit": "off",  # our queries are short
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Neither statements nor the values in a violated key belong into a log: they are personal data.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

#: Without protection against a power failure, for throw-away data: several times faster to set up.
THROW_AWAY: dict[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's directory, the programs and the account that serve it, and whether its data must be durable."""

    directory: Path
    programs: Path
    account: Account
    durable: bool = True

    def exists(self) -> bool:
        """True if it was made before."""
        return (self.directory / "PG_VERSION").is_file()

    def server_command(self, mark: str) -> list[str]:
        """The command of the server, to be started in the cluster's directory; `mark` becomes one argument."""
        settings = SETTINGS if self.durable else SETTINGS | THROW_AWAY
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self.programs / "postgres"), "-D", HERE, *arguments, mark]

    def popen_options(self, directory: Path | None = None) -> dict[str, Any]:
        """Arguments for `subprocess.Popen`: in the cluster, as its account, with nothing of our environment."""
        return {
            "cwd": directory or self.directory,
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            "stdin": subprocess.DEVNULL,
            "umask": 0o077,
            "start_new_session": True,  # a Ctrl-C of our terminal is not for the server
            **self.account.popen_options(),
        }

    def create(self) -> None:
        """Make the cluster with its role and its empty database; all of it or, after a crash, nothing.

        Raises:
            EmbeddedServerError: initdb or the first start failed; with its output.
        """
        if self.directory.exists() and any(self.directory.iterdir()):
            raise EmbeddedServerError(f"{self.directory} is neither empty nor a PostgreSQL cluster.")
        fresh = self.directory.with_name(f"{self.directory.name}.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        if self.account.foreign:
            os.chown(fresh, self.account.uid, self.account.gid)
        self._initdb(fresh)
        self._write_access_rules(fresh)
        self._create_database(fresh)
        fresh.rename(self.directory)
        _sync(self.directory.parent)

    def _initdb(self, fresh: Path) -> None:
        command = [str(self.programs / "initdb"), "-D", HERE, "--username", SUPERUSER, "--no-instructions"]
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--data-checksums", "--auth-local=peer", "--auth-host=reject"]
        if not self.durable:
            command.append("--no-sync")
        self._run(command, fresh)

    def _write_access_rules(self, fresh: Path) -> None:
        """Only root and the account itself get in, by what the kernel says of the other end of the socket."""
        names = dict.fromkeys(name for name in ("root", self.account.name) if name)
        lines = [f'bitnexus "{name}" "{role}"\n' for name in names for role in (ROLE, SUPERUSER)]
        for file, text in (
            ("pg_hba.conf", "# type database user method\nlocal all all peer map=bitnexus\n"),
            ("pg_ident.conf", "# map system-user database-user\n" + "".join(lines)),
        ):
            with (fresh / file).open("w", encoding="utf-8") as target:
                target.write(text)
                target.flush()
                os.fsync(target.fileno())

    def _create_database(self, fresh: Path) -> None:
        command = [str(self.programs / "postgres"), "--single", "-D", HERE]
        if not self.durable:
            command += [f"--{name}={value}" for name, value in THROW_AWAY.items()]
        statements = f"CREATE ROLE {ROLE} LOGIN CREATEDB;\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n"
        output = self._run([*command, "postgres"], fresh, statements)
        if "ERROR:" in output:  # a stand-alone backend goes on after an error and ends with 0
            raise EmbeddedServerError(f"The database could not be created:\n{output}")

    def _run(self, command: list[str], directory: Path, text: str = "") -> str:
        options = self.popen_options(directory)
        del options["stdin"]
        try:
            with subprocess.Popen(  # noqa: S603 - our own programs, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **options,
            ) as process:
                output = _communicate(process, text)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EmbeddedServerError(f"{command[0]} failed: {error}.") from error
        if process.returncode != 0:
            raise EmbeddedServerError(f"{command[0]} ended with {process.returncode}:\n{output[-4000:]}")
        return output


def _communicate(process: subprocess.Popen[str], text: str) -> str:
    try:
        return process.communicate(text, timeout=_INITDB_TIMEOUT_S)[0]
    except BaseException:
        # Interrupted, or too slow: initdb has children of its own, in the session that was made for it.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # returns when the last of them has closed its output
        raise


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
