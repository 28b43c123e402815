"""A running process held by a pidfd: waited for and signalled without ever meeting another one that got its pid.

For processes that need not be our children.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from bitnexus.storage import postmaster
from bitnexus.storage.postmaster import ProcessFacts


class RunningProcess:
    """Made by `hold`; give it back with `close`."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor

    @classmethod
    def hold(cls, pid: int) -> RunningProcess | None:
        """The process that has this pid now, or None."""
        try:
            return cls(pid, os.pidfd_open(pid))
        except (ProcessLookupError, OverflowError):
            return None
        except OSError:  # EINVAL: the number of a thread, not of a process
            return None

    def facts(self) -> ProcessFacts | None:
        """What the kernel says about it, or None if it is gone."""
        here = Path(f"/proc/{self.pid}")
        try:
            boot = postmaster.parse_boot_time(Path("/proc/stat").read_text())
            ticks = postmaster.parse_start_ticks((here / "stat").read_text())
            facts = ProcessFacts(
                uid=postmaster.parse_uid((here / "status").read_text()),
                arguments=tuple((here / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]),
                started_at_s=boot + ticks / os.sysconf("SC_CLK_TCK"),
                directory=_link(here / "cwd"),
            )
        except (FileNotFoundError, ProcessLookupError):
            return None
        # Had it died meanwhile, its pid could be another's, and so could be what was read.
        return None if self.wait(0) else facts

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing if it is gone."""
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended (a zombie has); False if it still runs after `timeout_s`."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(int(timeout_s * 1000)))

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def _link(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except PermissionError:
        return None
