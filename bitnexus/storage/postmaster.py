"""Whether the process that a ``postmaster.pid`` file names is the PostgreSQL server of that data directory.

Pure: the texts of the pid file and of ``/proc`` come in, a verdict goes out. Why the care: after a crash the file may
name a server that still runs (it must be stopped), no process at all, or, when the pid was reused, somebody else's
process, which must never be signalled.

Layout of the file: see ``src/include/utils/pidfile.h`` of PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

#: A process started up to this long after the time in the file may still be the server (clocks tick in 10 ms, the file
#: holds whole seconds, and the server reads its clock a little after it was started).
START_TOLERANCE_S = 5.0

#: A pid that no Linux process can have (PID_MAX_LIMIT is 2**22).
IMPOSSIBLE_PID = 2**22 + 1


@dataclass(frozen=True, slots=True)
class PidFile:
    """What ``postmaster.pid`` says of its process: pid, and start in seconds since the epoch."""

    pid: int
    started_at_s: int


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What ``/proc/<pid>`` says; `directory` is None where the kernel does not let us see it.

    Root in a container often lacks CAP_SYS_PTRACE and may then not look at the ``cwd`` link of another user's process.
    """

    uid: int
    arguments: tuple[str, ...]
    started_at_s: float
    directory: str | None


def parse_pid_file(text: str) -> PidFile | None:
    """The contents of a ``postmaster.pid``, or None if it is empty or damaged (a crash in the middle of writing)."""
    lines = text.splitlines()
    try:
        # A stand-alone backend writes its pid negated.
        pid, started_at_s = abs(int(lines[0])), int(lines[2])
    except (IndexError, ValueError):
        return None
    return PidFile(pid, started_at_s) if pid > 0 else None


def disown(text: str) -> str:
    """The pid file with a pid that cannot exist.

    PostgreSQL refuses to start while *any* process of its user has the pid in the file. Rewriting that line alone,
    instead of removing the file, keeps its own second check: the shared memory segment named further down must be
    free, which proves that no backend of the dead server still writes to the data.
    """
    _, newline, rest = text.partition("\n")
    return f"{IMPOSSIBLE_PID}{newline}{rest}"


def parse_start_ticks(stat: str) -> int:
    """Field 22 of ``/proc/<pid>/stat``: the process's start, in clock ticks since boot."""
    # The second field, the command's name in brackets, may hold spaces and brackets itself.
    return int(stat.rpartition(")")[2].split()[19])


def parse_boot_time(stat: str) -> int:
    """``btime`` of ``/proc/stat``: the boot's time in seconds since the epoch."""
    return next(int(line.split()[1]) for line in stat.splitlines() if line.startswith("btime "))


def parse_uid(status: str) -> int:
    """The effective uid in ``/proc/<pid>/status``."""
    return next(int(line.split()[2]) for line in status.splitlines() if line.startswith("Uid:"))


def is_server_of(facts: ProcessFacts, recorded: PidFile, *, uid: int, directory: str, mark: str) -> bool:
    """True if the process is the server of `directory`, run by `uid` and started with the argument `mark`.

    The working directory decides where it can be seen: a postmaster sits in its data directory all its life. Else the
    start time does: a process that reused the pid started later than the file says.
    """
    if facts.uid != uid or not facts.arguments or PurePath(facts.arguments[0]).name != "postgres":
        return False
    if mark not in facts.arguments:
        return False
    if facts.directory is not None:
        return facts.directory == directory
    return facts.started_at_s <= recorded.started_at_s + START_TOLERANCE_S
