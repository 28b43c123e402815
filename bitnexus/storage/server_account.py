"""The operating system account that the embedded PostgreSQL runs as.

PostgreSQL refuses to run as root. Started by anybody else, the server runs as that user. Started by root, it runs as

1. the owner of the cluster, if there is one already (a container made anew may number its accounts differently than
   the one that made the volume; and after ``sudo`` the user's own cluster stays the user's);
2. else the system account ``bitnexus-postgres``, which is created if it is missing: no home, no shell, no password, by
   ``useradd`` or by busybox's ``adduser``. A bare number without an account would not do: initdb wants a name.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnexus.storage.ownership import EmbeddedServerError

ACCOUNT_NAME = "bitnexus-postgres"
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server: numbers, the name if it has one, and whether we must change to it."""

    uid: int
    gid: int
    name: str | None
    foreign: bool

    def popen_options(self) -> dict[str, Any]:
        """Arguments for `subprocess.Popen` that make the child run as this account, without any other group."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.foreign else {}


def choose(cluster: Path) -> Account:
    """The account for the cluster in this directory, which need not exist yet.

    Raises:
        EmbeddedServerError: we are root, there is no such account and none can be created.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), _name_of(os.geteuid()), foreign=False)
    if cluster.is_dir() and cluster.stat().st_uid != 0:
        owner = cluster.stat()
        return Account(owner.st_uid, owner.st_gid, _name_of(owner.st_uid), foreign=True)
    entry = _find() or _create()
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name, foreign=True)


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _find() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    reason = "neither useradd nor adduser is installed"
    if useradd := shutil.which("useradd", path=path):
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        reason = _run([*command, "--shell", "/usr/sbin/nologin", ACCOUNT_NAME])
    elif adduser := shutil.which("adduser", path=path):
        reason = _run([adduser, "-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin", ACCOUNT_NAME])
    # Looked up again whatever the command said: another BitNexus may have created it at the same time.
    if entry := _find():
        return entry
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root, and the account {ACCOUNT_NAME} could not be created: {reason}. "
        f"Create it, or run BitNexus as an ordinary user, or set DATABASE_URL."
    )


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr or done.stdout).strip() or f"{command[0]} ended with {done.returncode}"
