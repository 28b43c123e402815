"""The driver of the supervision machine over processes: a supervisor is itself a process.

It forks a child, waits for its `ProcessStarted`, watches its heartbeats, asks it to stop and kills it; what happens is told
to the machine, which decides. Nothing here blocks but the fork itself. The root supervisor also keeps the node's names.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from multiprocessing.process import BaseProcess
from typing import Any, Final, assert_never

from thespian.actors import ActorAddress, ChildActorExited

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import (
    GetNames,
    Heartbeat,
    Message,
    Names,
    NamesChanged,
    ProcessExiting,
    ProcessStarted,
    Register,
    StopProcess,
)
from bitnexus.actors.runtime.process import Process, StartProcess, handles
from bitnexus.actors.runtime.reasons import ABORTED, HUNG, SHUTDOWN, ExitReason, from_wait_status, raised
from bitnexus.actors.runtime.registry import Registry
from bitnexus.supervision.events import (
    Answer,
    Begin,
    CancelTimer,
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    Effect,
    Event,
    Exit,
    Report,
    Running,
    SetTimer,
    Shutdown,
    Start,
    Stop,
    TimerFired,
)
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

#: A child whose `init` takes longer than this is killed: its start has failed.
START_TIMEOUT_S: Final = 30.0
_WATCH_S: Final = 1.0


class _Child:
    """A forked child, from its fork to its burial."""

    def __init__(self, spec: ChildSpec, process: BaseProcess, now: float) -> None:
        self.spec = spec
        self.process = process
        assert process.pid is not None
        self.pid: int = process.pid
        self.link: Connection | None = None
        self.is_up = False
        self.aborted = False
        self.heard_at = now
        self.verdict: ExitReason | None = None  # why it ends, when that is known before it has ended

    def kill(self) -> None:
        if self.process.exitcode is None:  # not reaped: the pid is still its own
            os.kill(self.pid, signal.SIGKILL)

    def reason(self) -> ExitReason:
        code = self.process.exitcode
        assert code is not None
        return self.verdict or from_wait_status(code)


class Supervisor(Process):
    """Args: `flags` (SupervisorFlags), `children` (list of ChildSpec whose start is a ProcessStart)."""

    def _boot(self, start: StartProcess) -> None:
        # The root is the registry; its children find it where it finds itself.
        self._registry_at = (
            start.registry_address or self.transport.address,
            start.registry_instance or self.transport.instance.hex(),
        )
        super()._boot(start)

    async def init(self) -> None:
        """Begin to start the children, one after another."""
        self._children: dict[str, _Child] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._exit_code = 0
        self._ended: asyncio.Future[ExitReason] = self.transport.loop.create_future()
        self._machine = SupervisorMachine(self.args["flags"], self.args["children"])
        self._tell(Begin())
        self.spawn(self._watch())

    def started(self) -> None:
        """A supervisor is up when its children are (see `Running`)."""

    async def terminate(self, reason: ExitReason) -> None:
        """Stop the children in reverse order."""
        self._tell(Shutdown(reason))
        await self._ended

    # -- the machine -----------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        for effect in self._machine.handle(event, self.transport.loop.time()):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Start(child_id, spec):
                self.transport.outside_loop(lambda: self._start_child(child_id, spec))
            case Stop(child_id, _, how):
                self._stop_child(child_id, how)
            case SetTimer(token, after_s):
                self._timers[token] = self.transport.loop.call_later(after_s, self._timer_fired, token)
            case CancelTimer(token):
                if (timer := self._timers.pop(token, None)) is not None:
                    timer.cancel()
            case Report():
                self._report(effect)
            case Running():
                self.log.info("supervisor_running", children=[child.id for child in self._machine.which_children()])
                super().started()
            case Exit(reason):
                self._machine_ended(reason)
            case Answer():
                self.log.error("answer_without_caller", ref=str(effect.ref))
            case _:
                assert_never(effect)

    def _timer_fired(self, token: int) -> None:
        del self._timers[token]
        self._tell(TimerFired(token))

    def _machine_ended(self, reason: ExitReason) -> None:
        self._ended.set_result(reason)
        if not self._stopping:  # it gave up by itself
            self._stopping = True
            self.transport.loop.create_task(self._exit(reason, 0 if reason.is_normal else 1))

    def _report(self, report: Report) -> None:
        level = "info" if report.kind == "progress" else "error"
        getattr(self.log, level)(
            f"supervisor_{report.kind}",
            supervisor=self.path,
            child=report.child,
            child_pid=report.pid,
            reason=None if report.reason is None else str(report.reason),
            context=report.context,
            traceback=report.reason.traceback or None if report.reason else None,
        )

    # -- children --------------------------------------------------------------------------------------------

    def _start_child(self, child_id: str, spec: ChildSpec) -> None:
        try:
            self._fork(child_id, spec)
        except Exception as error:  # noqa: BLE001  # a child that cannot even be forked has failed to start: the machine decides
            self._tell(ChildStartFailed(child_id, raised(error)))

    def _fork(self, child_id: str, spec: ChildSpec) -> None:
        assert isinstance(spec.start, ProcessStart)
        module, _, name = spec.start.process.partition(":")
        address = self.createActor(getattr(importlib.import_module(module), name))
        process: BaseProcess = self._myRef._child_procs[-1].childProc  # noqa: SLF001  # Thespian tells a child's pid nowhere else
        child = _Child(spec, process, self.transport.loop.time())
        self._children[child_id] = child
        self.send(
            address,
            StartProcess(
                name=child_id,
                path=f"{self.path}/{child_id}",
                link_address=self.transport.address,
                link_instance=self.transport.instance.hex(),
                registry_address=self._registry_at[0],
                registry_instance=self._registry_at[1],
                args=dict(spec.start.args),
            ),
        )

    @handles(ProcessStarted)
    def _child_started(self, message: ProcessStarted, context: Context) -> None:
        child = self._children.get(message.child)
        if child is not None and child.pid == message.pid and not child.aborted:
            child.is_up = True
            child.link = context.connection
            child.heard_at = self.transport.loop.time()
            self._tell(ChildStarted(message.child, message.pid))

    @handles(Heartbeat)
    def _heartbeat(self, message: Heartbeat, context: Context) -> None:  # noqa: ARG002
        child = self._children.get(message.child)
        if child is not None and child.pid == message.pid:
            child.heard_at = self.transport.loop.time()

    @handles(ProcessExiting)
    def _last_words(self, message: ProcessExiting, context: Context) -> None:  # noqa: ARG002
        child = self._children.get(message.child)
        if child is not None and child.pid == message.pid and child.verdict is None:
            child.verdict = ExitReason.decode(message.reason)

    def system_message(self, message: object, sender: ActorAddress) -> None:  # noqa: ARG002
        """A child has ended (SIGCHLD): Thespian says that, not why; the exit code does."""
        if isinstance(message, ChildActorExited):
            for child_id, child in list(self._children.items()):
                if child.process.exitcode is not None:
                    self._bury(child_id, child)

    def _bury(self, child_id: str, child: _Child) -> None:
        del self._children[child_id]
        if child.is_up:
            self._tell(ChildExited(child_id, child.pid, child.reason()))
        else:
            self._tell(ChildStartFailed(child_id, ABORTED if child.aborted else child.reason()))

    def _stop_child(self, child_id: str, how: str) -> None:
        child = self._children.get(child_id)
        if child is None:  # its fork is still to come: let it come and go
            self.transport.outside_loop(lambda: self._stop_child(child_id, how))
        elif not child.is_up:
            child.aborted = True
            child.kill()
        elif how == "shutdown" and child.link is not None and not child.link.is_closed:
            self.node.cast_over(child.link, StopProcess(""))
        else:
            child.kill()

    async def _watch(self) -> None:
        """Kill children that hang: no end of `init` in time, or no heartbeat."""
        while True:
            await asyncio.sleep(_WATCH_S)
            now = self.transport.loop.time()
            for child in self._children.values():
                limit = child.spec.heartbeat_timeout_s if child.is_up else START_TIMEOUT_S
                if limit is not None and now - child.heard_at > limit and child.verdict is None:
                    child.verdict = HUNG
                    self.log.error("child_hung", child=child.spec.id, pid=child.pid, silent_s=now - child.heard_at)
                    child.kill()


class RootSupervisor(Supervisor):
    """The supervisor at the top: it keeps the node's names, and is linked to whoever launched the node."""

    def _boot(self, start: StartProcess) -> None:
        self._registry = Registry()
        super()._boot(start)

    async def init(self) -> None:
        """Register itself, then as any supervisor."""
        self._registry.register(self, self.info())
        await super().init()

    @handles(Register)
    def _register(self, message: Register, context: Context) -> Names:
        change = self._registry.register(context.connection, message.info)
        if change is not None:
            self._announce(change)
        return self._registry.names()

    @handles(GetNames)
    def _names(self, message: GetNames, context: Context) -> Names:  # noqa: ARG002
        return self._registry.names()

    def _announce(self, change: Message) -> None:
        for member in self._registry.members():
            if isinstance(member, Connection) and not member.is_closed:
                self.node.cast_over(member, change)

    def _connection_lost(self, connection: Connection) -> None:
        change = self._registry.lost(connection)
        if change is not None:
            self._announce(change)
        super()._connection_lost(connection)

    def link_lost(self) -> None:
        """The launcher is gone: stop the tree in order, then the admin, whose only purpose was this tree."""
        self.log.error("launcher_lost")
        self.stop(SHUTDOWN)

    async def _exit(self, reason: ExitReason, code: int) -> None:
        if self._link.is_closed:
            os.kill(os.getppid(), signal.SIGKILL)  # the admin; this process and the logger die with it
        await super()._exit(reason, code)

