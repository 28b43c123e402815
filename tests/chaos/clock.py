"""A wall clock that can be set from outside, of all processes of one node and of nobody else on the machine.

A file that all of them have mapped holds how far it is off. It takes the place of `time.time` and `time.time_ns`
before the service is imported; intervals are measured by the monotonic clock, which nobody can set, here as anywhere.
PostgreSQL keeps the true time, as a server on another host would.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path
from typing import Final

_OFFSET: Final = struct.Struct("=q")  # nanoseconds


def set_offset(path: Path, seconds: float) -> None:
    """Have every clock that was taken from this file be so far off from now on; the file is made if there is none."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(_OFFSET.pack(int(seconds * 1e9)))


def take(path: Path) -> None:
    """Use that clock in this process and its forks."""
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size)
    true_ns = time.time_ns

    def time_ns() -> int:
        return true_ns() + int(_OFFSET.unpack_from(shared)[0])

    def seconds() -> float:
        return time_ns() / 1e9

    time.time, time.time_ns = seconds, time_ns
