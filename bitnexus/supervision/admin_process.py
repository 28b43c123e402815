"""Thespian's admin as the launcher sees it: a process that it did not fork itself, found by the port it listens on."""

from __future__ import annotations

import contextlib

import psutil


def listener(port: int) -> psutil.Process | None:
    """The process that listens on the admin's port: Thespian forks it twice and does not tell its pid."""
    for connection in psutil.net_connections("tcp4"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                found = psutil.Process(connection.pid)
                # A child that was forked this moment has its parent's sockets still, until it cuts itself off them.
                while (parent := found.parent()) is not None and _listens(parent, port):
                    found = parent
                return found
    return None


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp4")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
