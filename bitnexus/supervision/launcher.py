"""Starts a node and watches it: Thespian's admin, the root supervisor, the tree below it.

The launcher is no actor. It runs in the process that the operator started, on that process's loop, linked to the root
both ways: if the launcher dies the tree stops, if the tree dies the launcher knows at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any, Final

import psutil
import structlog
from thespian.actors import ActorSystemException

from bitnexus.actors.runtime import membership
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Heartbeat, Message, ProcessExiting, ProcessStarted, StopProcess
from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.process import StartProcess
from bitnexus.actors.runtime.reasons import HUNG, NOPROC, ExitReason
from bitnexus.actors.runtime.system import start_system
from bitnexus.actors.runtime.transport import Transport
from bitnexus.config import get_settings, node_file
from bitnexus.config.node_file import NodeFile
from bitnexus.errors import NoProcess, Overloaded
from bitnexus.supervision import preflight
from bitnexus.supervision.admin_process import is_alive, listener
from bitnexus.supervision.root import RootSupervisor
from bitnexus.supervision.spec import ChildSpec, SupervisorFlags

#: Objects between two runs of the garbage collector. Its default, 700, is that of scripts: with hundreds of requests in
#: flight each run finds everything alive, which took 8 % of a front's time.
GARBAGE_THRESHOLD: Final = 20_000

log = structlog.get_logger("bitnexus.launcher")

#: What Thespian's own processes (admin, logger) have to say comes out as our log lines.
_LOG_DEFS = {
    "version": 1,
    "handlers": {"node": {"()": "bitnexus.config.logging.thespian_handler"}},
    "root": {"handlers": ["node"], "level": "WARNING"},
    "disable_existing_loggers": False,
}
#: How long the whole tree may take to come up.
START_TIMEOUT_S: Final = 60.0
#: A root that is silent for so long is killed, and all below it.
ROOT_HEARTBEAT_TIMEOUT_S: Final = 3.0
#: How long what was killed may take to be gone.
_GONE_WITHIN_S: Final = 2.0
_STEP_S: Final = 0.01
_WATCH_S: Final = 0.25


class Launcher:
    """One run of a tree. `start` returns when every process is up; `stop` when none is left.

    Attributes: `node`, `loop`, `root_pid`, `admin_pid` (0 before the start), `reason` (why the tree ended, when known).
    """

    def __init__(self, name: str, flags: SupervisorFlags, children: list[ChildSpec]) -> None:
        self._name = name
        self._flags = flags
        self._children = children
        self.root_pid = 0
        self.admin_pid = 0
        self.reason: ExitReason | None = None
        self.transport: Transport
        self.loop: asyncio.AbstractEventLoop
        self.node: Node
        self._admin: psutil.Process | None = None
        self._link: Connection | None = None
        self._heard_at = 0.0
        self._ended: asyncio.Event
        self._started: asyncio.Future[ProcessStarted]
        self._watching: asyncio.Task[None] | None = None
        self._published: NodeFile | None = None

    # -- the start -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fork the admin and the root, wait until the tree is up. Call it with no loop running and no other thread.

        Raises NoProcess when the tree does not come up, SpecError when it cannot, InvalidSettings when
        BITNEXUS_NODE_PORT is taken or the files of BITNEXUS_NODE_TLS_… are of no use; nothing of the tree is left then.
        """
        preflight.check(self._children)
        membership.renew()
        gc.collect()
        gc.freeze()  # what is loaded by now is shared by all processes: the collector must not write to its pages
        gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])  # inherited by all of them
        port = preflight.free_port()
        try:
            system = start_system(port, _LOG_DEFS)
        except ActorSystemException as error:
            self._admin = listener(port)
            self._kill_and_wait()
            raise NoProcess(f"Thespian's admin did not start: {error}") from error
        self.transport = system.transport
        self.loop = self.transport.loop
        try:
            self._admin = listener(port)
            self.admin_pid = 0 if self._admin is None else self._admin.pid
            self._ended = asyncio.Event()
            self._started = self.loop.create_future()
            root = system.newPrimaryActor(RootSupervisor, None, None)
            self.node = Node(self.transport.peers, self._dispatch, self._root_lost, _log_fault)
            system.tell(root, self._first_message())
            self.loop.run_until_complete(self._until_up(self.transport.address_behind(root)))
        except BaseException as error:
            self._kill_and_wait()
            self.close()
            if isinstance(error, ActorSystemException):
                raise NoProcess(f"the root did not start: {error}") from error
            raise

    def _first_message(self) -> StartProcess:
        return StartProcess(
            name=self._name,
            path=self._name,
            link_address=self.transport.peers.address,
            link_instance=self.transport.peers.instance.hex(),
            registry_address="",
            registry_instance="",
            args={"flags": self._flags, "children": self._children},
        )

    async def _until_up(self, root_address: str) -> None:
        # Linked from this side, too: a root that dies before it has said anything is missed at once.
        early = self.node.link(root_address, "")
        self.node.connection_lost = lambda connection: self._root_lost() if connection is early else None
        ended = asyncio.ensure_future(self._ended.wait())
        waited_for: set[asyncio.Future[Any]] = {self._started, ended}
        await asyncio.wait(waited_for, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not self._started.done():
            raise NoProcess(f"the tree did not start: {self.reason or NOPROC}")
        self._heard_at = self.loop.time()
        await self.node.join(root_address, self._started.result().instance)
        self._watching = self.loop.create_task(self._watch_root())
        self._publish(root_address, self._started.result())

    def _publish(self, root_address: str, root: ProcessStarted) -> None:
        settings = get_settings()
        host, _, _ = root_address.rpartition(":")
        address = f"{host}:{settings.node_port}" if settings.node_port else root_address
        published = NodeFile(address, root.instance, root.pid)
        try:
            node_file.publish(settings.data_dir, published)
        except OSError as error:  # a node without a data directory works: its clients must be told the address
            log.warning("node_file_not_written", error=str(error))
        else:
            self._published = published

    def _withdraw(self) -> None:
        published, self._published = self._published, None
        if published is not None:
            try:
                node_file.withdraw(get_settings().data_dir, published)
            except OSError as error:
                log.warning("node_file_not_removed", error=str(error))

    # -- its life --------------------------------------------------------------------------------------------

    def _dispatch(self, message: Message, context: Context) -> None:
        if isinstance(message, Heartbeat):
            self._heard_at = self.loop.time()
        elif isinstance(message, ProcessStarted):
            self.root_pid = message.pid
            self._link = context.connection
            if not self._started.done():
                self._started.set_result(message)
        elif isinstance(message, ProcessExiting):
            self.reason = ExitReason.decode(message.reason)
            self._ended.set()

    def _root_lost(self) -> None:
        self._ended.set()

    async def _watch_root(self) -> None:
        while not self._ended.is_set():
            due = self.loop.time() + _WATCH_S
            await asyncio.sleep(_WATCH_S)
            now = self.loop.time()
            # Time in which this process itself did not run: it may not have read what the root said.
            self._heard_at = min(now, self._heard_at + max(0.0, now - due))
            if now - self._heard_at > ROOT_HEARTBEAT_TIMEOUT_S:
                log.error("root_hung", pid=self.root_pid, silent_s=now - self._heard_at)
                self.reason = HUNG
                self.kill()
                return

    async def wait(self) -> ExitReason:
        """Wait until the tree has ended by itself; gives its reason."""
        await self._ended.wait()
        return self.reason or NOPROC

    # -- the end ---------------------------------------------------------------------------------------------

    async def stop(self, timeout_s: float) -> bool:
        """Stop the tree in order, kill what is left after `timeout_s`; True if all ended in time."""
        deadline = self.loop.time() + timeout_s
        self._withdraw()  # first: clients that look for the node while it stops must not find this one
        link = self._link
        if link is not None and not link.is_closed:
            try:
                self.node.cast_over(link, StopProcess(""))
            except Overloaded as error:
                log.warning("root_cannot_be_asked_to_stop", error=error.detail)
        if link is not None:
            await self._until(lambda: link.is_closed, deadline)
        in_time = link is None or link.is_closed
        if self._watching is not None:
            self._watching.cancel()
        await self._kill_all()
        return in_time

    def close(self) -> None:
        """Release the launcher's own end: its loop and its sockets. Call it with the loop stopped."""
        self._withdraw()
        self.transport.close()

    def kill(self) -> None:
        """Kill the admin: the root dies with it, and everything below (each process dies with its parent)."""
        if self._admin is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._admin.kill()

    async def _kill_all(self) -> None:
        left = self._processes()
        self.kill()
        deadline = self.loop.time() + _GONE_WITHIN_S
        await self._until(lambda: not any(map(is_alive, left)), deadline)
        for each in filter(is_alive, left):
            log.error("process_left", pid=each.pid)

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        # What is waited for is the end of processes that are no children of ours: nothing announces it.
        while not condition() and self.loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_STEP_S)

    def _kill_and_wait(self) -> None:
        left = self._processes()
        self.kill()
        psutil.wait_procs(left, timeout=_GONE_WITHIN_S)

    def _processes(self) -> list[psutil.Process]:
        """The admin and all below it; those below die in its wake, not with it."""
        if self._admin is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._admin, *self._admin.children(recursive=True)]
        return []


def _log_fault(error: Exception) -> None:
    log.error("launcher_fault", exc_info=error)
