"""What a freshly forked actor process must undo, and how it is tied to its parent's life."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys

_PR_SET_PDEATHSIG = 1


def cut_inherited_sockets() -> None:
    """Replace every socket and event descriptor that came with the fork by /dev/null.

    A copy of the parent's connection in a child would keep that connection open after the parent's death: nobody would
    notice that it died. The numbers stay taken, so that an inherited object that closes its descriptor late cannot close
    one of ours.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
        descriptor = int(name)
        if descriptor not in (0, 1, 2, null) and _is_event_or_socket(descriptor):
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _is_event_or_socket(descriptor: int) -> bool:
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return True
        target = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # closed since it was listed (the listing's own descriptor), or no /proc
        return False
    return target.startswith(("anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[io_uring]"))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, however that dies (Linux; elsewhere the link does it)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the request was made
        os.kill(os.getpid(), signal.SIGKILL)
