"""Thespian's system base on asyncio: ``ActorSystem("bitnexus.actors.runtime.system")``.

Every actor is one OS process with one asyncio loop. Unlike Thespian's own ``multiprocTCPBase`` it listens on one
address only, reads nothing from a peer that has not proved the node's cookie, keeps one connection per peer,
acknowledges delivery, and fails what was in flight as soon as a process dies.
"""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace
from typing import Any

import psutil
from thespian.system import multiprocCommon, systemCommon
from thespian.system.multiprocCommon import multiprocessCommon

from bitnexus.actors.runtime import thespian_log
from bitnexus.actors.runtime.addressing import ENDS_WITH_STARTER
from bitnexus.actors.runtime.admin import Admin
from bitnexus.actors.runtime.transport import Transport


class Ungoverned:
    """In the place of Thespian's governor: it limits nothing.

    That one lets a process, and its loop, sleep for 0.1 s in `send` for each message beyond 4,480 a second. Here
    windows and bounded queues say how much may be under way.
    """

    def __init__(self, maximumRate: int) -> None:
        pass

    def __str__(self) -> str:
        return "not limited"

    def eventRatePause(self, curtime: object) -> None:
        """Asked before each message."""


thespian_log.redirect()
# Which classes are used for these cannot be said to Thespian.
multiprocCommon.MultiProcAdmin = Admin
systemCommon.RateThrottle = Ungoverned


class ActorSystemBase(multiprocessCommon):  # type: ignore[misc]  # Thespian has no type hints
    """The name that Thespian looks for in a system base's module."""

    transportType = Transport

    def __init__(self, system: Any, logDefs: Any = None) -> None:
        system.capabilities["Thespian ActorSystem Name"] = "bitnexus"
        system.capabilities["Thespian ActorSystem Version"] = 2
        system.capabilities["Thespian Watch Supported"] = True
        super().__init__(system, logDefs)

    def _startAdmin(self, *arguments: Any) -> None:
        before = {child.pid for child in psutil.Process().children()}
        super()._startAdmin(*arguments)
        # The admin is made by a child that forks it and exits; Thespian leaves that one unburied.
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
                if child.pid not in before and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)


def start_system(admin_port: int, log_defs: dict[str, Any]) -> ActorSystemBase:
    """Start an actor system of its own (an admin, a logger), not shared with other users of Thespian in this process.

    Its admin ends when this process is gone and it has no actor left.
    """
    return ActorSystemBase(SimpleNamespace(capabilities={"Admin Port": admin_port, ENDS_WITH_STARTER: True}), log_defs)
