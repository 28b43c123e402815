"""A child of a supervisor as a forked process, from its fork to its burial."""

from __future__ import annotations

import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.reasons import ABORTED, ExitReason, from_wait_status
from bitnexus.supervision.spec import ChildSpec

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ChildProcess:
    """What its supervisor knows of it; `now` is the loop's time of its fork, in seconds."""

    def __init__(self, spec: ChildSpec, process: BaseProcess, now: float) -> None:
        self.spec = spec
        self._process = process
        assert process.pid is not None
        self.pid: int = process.pid
        self.link: Connection | None = None
        self.is_up = False
        self.is_beating = False  # it has given a sign of life
        self.is_aborted = False  # its start has been given up
        self.is_hung = False  # noticed, and told
        self.is_large = False  # likewise
        self.forked_at = self.heard_at = now
        self.mailbox, self.lag_ms, self.is_suspended = 0, 0.0, False  # as its last heartbeat said
        self.verdict: ExitReason | None = None  # why it ends, by its own last words; hung if it does not start

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone (and reaped)."""
        return self._process.exitcode is not None

    @property
    def can_be_asked(self) -> bool:
        """Whether a request to stop would reach it."""
        return self.is_up and self.link is not None and not self.link.is_closed

    def came_up(self, link: Connection, now: float) -> None:
        """It said that it is up."""
        self.is_up, self.link, self.heard_at = True, link, now

    def beat(self, now: float) -> None:
        """It gave a sign of life."""
        self.is_beating, self.heard_at = True, now

    def is_silent(self, now: float, start_timeout_s: float) -> bool:
        """Whether it hangs: no heartbeat for as long as its spec allows, from the first one on; or no end of its start.

        How long a supervisor's start takes is its children's affair, as long as it gives signs of life.
        """
        limit_s = self.spec.heartbeat_timeout_s
        if limit_s is not None and (self.is_up or self.is_beating) and self.silent_s(now) > limit_s:
            return True
        started_at = self.heard_at if self.spec.type == "supervisor" else self.forked_at
        return not self.is_up and now - started_at > start_timeout_s

    def passed_over(self, late_s: float, now: float) -> None:
        """Its supervisor did not run for so long, and may not have read what it said."""
        self.heard_at = min(now, self.heard_at + late_s)
        self.forked_at = min(now, self.forked_at + late_s)

    def silent_s(self, now: float) -> float:
        """Seconds since it was heard of."""
        return now - self.heard_at

    def rss_bytes(self) -> int:
        """The memory it has resident now; 0 when that cannot be told (it has ended, or there is no /proc)."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return 0
        return int(pages) * _PAGE_BYTES

    def kill(self) -> None:
        """SIGKILL; nothing happens when it has ended."""
        if not self.has_ended:  # not reaped: the pid is still its own
            os.kill(self.pid, signal.SIGKILL)

    def reason(self) -> ExitReason:
        """Why it has ended: by its own last words, or by what the kernel says."""
        code = self._process.exitcode
        assert code is not None
        if self.is_aborted and not self.is_up:
            return ABORTED
        return self.verdict or from_wait_status(code)
