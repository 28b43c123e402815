"""Thespian's system base on asyncio: ``ActorSystem("bitnexus.actors.runtime.system")``.

Every actor is one OS process with one asyncio loop. Unlike Thespian's own ``multiprocTCPBase`` it listens on one address
only, reads nothing from a peer that has not proved the node's cookie, keeps one connection per peer, acknowledges
delivery, and fails what was in flight as soon as a process dies.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from thespian.system.multiprocCommon import multiprocessCommon

from bitnexus.actors.runtime.transport import Transport


class ActorSystemBase(multiprocessCommon):  # type: ignore[misc]  # Thespian has no type hints
    """The name that Thespian looks for in a system base's module."""

    transportType = Transport

    def __init__(self, system: Any, logDefs: Any = None) -> None:  # noqa: N803
        system.capabilities["Thespian ActorSystem Name"] = "bitnexus"
        system.capabilities["Thespian ActorSystem Version"] = 2
        system.capabilities["Thespian Watch Supported"] = False
        super().__init__(system, logDefs)


def start_system(admin_port: int, log_defs: dict[str, Any]) -> ActorSystemBase:
    """Start an actor system of its own (an admin, a logger), not shared with other users of Thespian in this process."""
    return ActorSystemBase(SimpleNamespace(capabilities={"Admin Port": admin_port}), log_defs)
