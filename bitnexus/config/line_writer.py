"""Writes log lines to a descriptor that many processes share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator

#: A reader that takes nothing for this long loses lines, so that it cannot hold the service up.
LONGEST_WAIT_MS = 1000
#: Another process's line may be on its way; one that was stopped in the middle of it must not stop all others.
_LONGEST_LOCK_S = 1.0
_LOCK_STEP_S = 0.0005


class LineWriter:
    """A structlog logger whose every message is one whole line, never mixed with those of other processes.

    Nothing is kept back: what a process has logged is out of it, however it dies. The kernel keeps a write whole in a
    file and, up to 4096 bytes, in a pipe. For longer lines a lock on the descriptor's file (POSIX: of a process, gone
    with it, also on pipes, terminals and sockets) is held for each write. A line that cannot be written is counted in
    `lost` and mentioned by the next one that can: a logger has nowhere else to complain.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread_lock = threading.Lock()  # a POSIX lock does not keep threads apart
        self.lost = 0

    def is_terminal(self) -> bool:
        """Whether a person is likely to read this."""
        return os.isatty(self._descriptor)

    def msg(self, line: str) -> None:
        """Write `line` and a line feed, or count it as lost."""
        with self._alone():
            if self.lost and self._write(f'{{"event":"log lines lost","level":"error","lost":{self.lost}}}'):
                self.lost = 0
            if not self._write(line):
                self.lost += 1

    debug = info = warning = warn = error = err = critical = fatal = exception = failure = log = msg

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from writing; after `_LONGEST_LOCK_S` the line is written all the same."""
        has_thread_lock = self._thread_lock.acquire(timeout=_LONGEST_LOCK_S)
        has_lock = self._lock()
        try:
            yield
        finally:
            if has_lock:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            if has_thread_lock:
                self._thread_lock.release()

    def _lock(self) -> bool:
        deadline = time.monotonic() + _LONGEST_LOCK_S
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):  # POSIX allows either
                if time.monotonic() > deadline:
                    return False
                time.sleep(_LOCK_STEP_S)
            except OSError:  # no such thing as a lock on it, or it is closed
                return False
            else:
                return True

    def _write(self, line: str) -> bool:
        rest = memoryview(line.encode(errors="replace") + b"\n")
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    # Someone who shares the terminal or pipe made it non-blocking for all.
                    poll = select.poll()
                    poll.register(self._descriptor, select.POLLOUT)
                    if not poll.poll(LONGEST_WAIT_MS):
                        return False
        except OSError:
            return False
        return True
