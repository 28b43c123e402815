"""Starts a node and watches it: Thespian's admin, the root supervisor, the tree below it.

The launcher is no actor. It runs in the process that the operator started, on that process's loop, linked to the root both
ways: if the launcher dies the tree stops, if the tree dies the launcher knows at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import socket
import time

import psutil
import structlog

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message, ProcessExiting, ProcessStarted, StopProcess
from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.process import StartProcess
from bitnexus.actors.runtime.reasons import NOPROC, ExitReason
from bitnexus.actors.runtime.system import start_system
from bitnexus.actors.runtime.transport import Transport
from bitnexus.config import get_settings
from bitnexus.errors import NoProcess
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags
from bitnexus.supervision.supervisor import RootSupervisor

log = structlog.get_logger("bitnexus.launcher")

#: What Thespian's own processes (admin, logger) have to say comes out as our log lines.
_LOG_DEFS = {
    "version": 1,
    "handlers": {"node": {"()": "bitnexus.config.logging.thespian_handler"}},
    "root": {"handlers": ["node"], "level": "WARNING"},
    "disable_existing_loggers": False,
}
#: How long the whole tree may take to come up.
START_TIMEOUT_S = 60.0


class Launcher:
    """One run of a tree. `start` returns when every process is up; `stop` when none is left."""

    def __init__(self, name: str, flags: SupervisorFlags, children: list[ChildSpec]) -> None:
        self._name = name
        self._flags = flags
        self._children = children
        self.root_pid = 0
        self.admin_pid = 0
        self._ended: asyncio.Event
        self._started: asyncio.Future[ProcessStarted]
        self.reason: ExitReason | None = None

    def start(self) -> None:
        """Fork the admin and the root, wait until the tree is up. Call it with no loop running and no other thread.

        Raises NoProcess when the tree does not come up; nothing of it is left then.
        """
        _import_all(self._children)
        gc.collect()
        gc.freeze()  # what is loaded by now is shared by all processes: the collector must not write to its pages
        port = get_settings().node_port or _free_port()
        os.environ["THESPLOG_FILE_MAXSIZE"] = "0"  # Thespian's own log file in /tmp
        self._system = start_system(port, _LOG_DEFS)
        self.transport: Transport = self._system.transport
        self.loop = self.transport.loop
        self.admin_pid = _listener(port)
        self._ended = asyncio.Event()
        self._started = self.loop.create_future()
        root = self._system.newPrimaryActor(RootSupervisor, None, None)
        self.node = Node(self.transport, self._dispatch, self._root_lost)
        self._root_address = self.transport.endpoint_of(root)
        self._system.tell(
            root,
            StartProcess(
                name=self._name,
                path=self._name,
                link_address=self.transport.address,
                link_instance=self.transport.instance.hex(),
                registry_address="",
                registry_instance="",
                args={"flags": self._flags, "children": self._children},
            ),
        )
        self.loop.run_until_complete(self._until_up())

    async def _until_up(self) -> None:
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait({self._started, ended}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not self._started.done():
            reason = self.reason or NOPROC
            self.kill()
            raise NoProcess(f"the tree did not start: {reason}")
        started = self._started.result()
        await self.node.join(self._root_address, started.instance)

    def _dispatch(self, message: Message, context: Context) -> None:
        if isinstance(message, ProcessStarted):
            self.root_pid = message.pid
            self._link = context.connection
            if not self._started.done():
                self._started.set_result(message)
        elif isinstance(message, ProcessExiting):
            self.reason = ExitReason.decode(message.reason)
            self._ended.set()

    def _root_lost(self) -> None:
        self._ended.set()

    async def wait(self) -> ExitReason:
        """Wait until the tree has ended by itself; gives its reason."""
        await self._ended.wait()
        return self.reason or NOPROC

    async def stop(self, timeout_s: float) -> bool:
        """Stop the tree in order, kill what is left after `timeout_s`; True if all ended in time."""
        deadline = time.monotonic() + timeout_s
        if not self._link.is_closed:
            self.node.cast_over(self._link, StopProcess(""))
        while not self._link.is_closed and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        in_time = self._link.is_closed
        self.kill()
        return in_time

    def close(self) -> None:
        """Release the launcher's own end: its loop and its sockets. Call it with the loop stopped."""
        self.transport.close()

    def kill(self) -> None:
        """Kill the admin: the root dies with it, and everything below (each process dies with its parent)."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.admin_pid, signal.SIGKILL)


def _import_all(children: list[ChildSpec]) -> None:
    for child in children:
        start = child.start
        assert isinstance(start, ProcessStart)
        importlib.import_module(start.process.partition(":")[0])
        _import_all(list(start.args.get("children", ())))  # type: ignore[call-overload]  # a supervisor's arguments


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((get_settings().node_host, 0))
        port: int = probe.getsockname()[1]
        return port


def _listener(port: int) -> int:
    for connection in psutil.net_connections("tcp4"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return int(connection.pid)
    raise NoProcess(f"nothing listens on the admin's port {port}")
