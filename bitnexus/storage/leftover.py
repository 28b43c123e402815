"""What an earlier run left in a cluster: a server without an owner, or a pid file that is no longer true."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bitnexus.storage import postmaster
from bitnexus.storage.ownership import EmbeddedServerError
from bitnexus.storage.running_process import RunningProcess
from bitnexus.storage.server_account import Account

#: After an immediate shutdown's time the server is killed; the next start recovers.
_IMMEDIATE_TIMEOUT_S = 5.0


def deal_with(cluster: Path, account: Account, mark: str, *, stop_timeout_s: float) -> None:
    """Stop a server that outlived its owner; disown a pid file that names somebody else's process.

    For the owner of the cluster alone: nobody else may be starting a server in it.

    Raises:
        EmbeddedServerError: the server cannot be ended.
    """
    path = cluster / "postmaster.pid"
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return
    recorded = postmaster.parse_pid_file(text)
    if recorded is None:
        path.unlink()  # cut short by a crash; PostgreSQL would not start with it
        return
    process = RunningProcess.hold(recorded.pid)
    if process is None:
        return  # PostgreSQL itself deals with a pid that nobody has
    try:
        facts = process.facts()
        if facts and postmaster.is_server_of(facts, recorded, uid=account.uid, directory=str(cluster), mark=mark):
            end(process, stop_timeout_s)
        # A zombie counts for PostgreSQL as alive, and in a container nobody may reap it.
        if path.exists():
            _replace(path, postmaster.disown(text), account)
    finally:
        process.close()


def end(process: RunningProcess, timeout_s: float) -> None:
    """End a postmaster: fast shutdown; if it takes longer than `timeout_s`, immediate shutdown; at last SIGKILL.

    Raises:
        EmbeddedServerError: not even SIGKILL ended it in time.
    """
    if timeout_s > 0:
        process.signal(signal.SIGINT)
        if process.wait(timeout_s):
            return
    for number in (signal.SIGQUIT, signal.SIGKILL):
        process.signal(number)
        if process.wait(_IMMEDIATE_TIMEOUT_S):
            return
    raise EmbeddedServerError(f"The PostgreSQL server (process {process.pid}) cannot be ended.")


def _replace(path: Path, text: str, account: Account) -> None:
    """Write a new file over `path`, which lies in a directory of the server's account: never through a link of its."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(text)
        os.fchown(descriptor, account.uid, account.gid)
    fresh.rename(path)
