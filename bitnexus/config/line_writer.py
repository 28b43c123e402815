"""Writes log lines to a descriptor that many processes share."""

from __future__ import annotations

import os
import select

#: A reader that takes nothing for this long loses lines, so that it cannot hold the service up.
LONGEST_WAIT_MS = 1000


class LineWriter:
    """A structlog logger whose every message is one ``write`` of one whole line.

    The kernel keeps a write whole in a file opened for appending (as ``2>>log`` does) and, up to 4096 bytes, in a
    pipe; a longer one is whole in a pipe as long as its reader keeps up. A line that cannot be written is counted
    in `lost` and mentioned by the next one that can: a logger has nowhere else to complain.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost = 0

    def is_terminal(self) -> bool:
        """Whether a person is likely to read this."""
        return os.isatty(self._descriptor)

    def msg(self, line: str) -> None:
        """Write `line` and a line feed, or count it as lost."""
        if self.lost and self._write(f'{{"event":"log lines lost","level":"error","lost":{self.lost}}}'):
            self.lost = 0
        if not self._write(line):
            self.lost += 1

    debug = info = warning = warn = error = err = critical = fatal = exception = failure = log = msg

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
