"""What a freshly forked actor process must undo, and how it is tied to its parent's life."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import stat
import sys
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_ALONE_STEP_S = 0.25


def leave_inherited_loop() -> None:
    """Forget the loop in which this process was forked: signals must not be written to its descriptor."""
    signal.set_wakeup_fd(-1)


def cut_inherited_sockets() -> None:
    """Replace every socket and event descriptor that came with the fork by /dev/null.

    A copy of the parent's connection in a child would keep that connection open after the parent's death: nobody
    would notice that it died. The numbers stay taken, so that an inherited object that closes its descriptor late
    cannot close one of ours.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for entry in list(Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor not in (0, 1, 2, null) and _is_event_or_socket(descriptor):
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _is_event_or_socket(descriptor: int) -> bool:
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return True
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:  # closed since it was listed (the listing's own descriptor), or no /proc
        return False
    return target.startswith(("anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[io_uring]"))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, however it dies (Linux; elsewhere the link does it)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the request was made
        os.kill(os.getpid(), signal.SIGKILL)


def end_when_alone(loop: asyncio.AbstractEventLoop, starter_pid: int) -> None:
    """Have this process, an admin, exit once its starter is gone and no actor is left under it.

    A root that lives stops its tree in order when the launcher dies, and ends the admin itself; this is for the case
    that both die. (Linux; elsewhere such an admin stays.)
    """
    if sys.platform != "linux":
        return

    def look() -> None:
        if len(psutil.Process().children()) > 1:  # one is the logger
            loop.call_later(_ALONE_STEP_S, look)
        else:
            os._exit(0)  # the logger dies with it

    def starter_ended() -> None:
        loop.remove_reader(descriptor)
        look()

    try:
        descriptor = os.pidfd_open(starter_pid)
    except ProcessLookupError:
        look()
    else:
        loop.add_reader(descriptor, starter_ended)
