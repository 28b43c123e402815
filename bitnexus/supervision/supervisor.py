"""The driver of the supervision machine over processes: a supervisor is itself a process.

It forks a child, waits for its `ProcessStarted`, watches its heartbeats, asks it to stop and kills it; what happens is
told to the machine, which decides. Nothing here blocks but the fork itself.
"""

from __future__ import annotations

import asyncio
import importlib
import pickle
import random
from typing import Final, assert_never

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.deaths import Dead, GetExit
from bitnexus.actors.runtime.message import Heartbeat, ProcessExiting, ProcessStarted, StopProcess
from bitnexus.actors.runtime.process import StartProcess, handles
from bitnexus.actors.runtime.reasons import HUNG, NORMAL, ExitReason, raised
from bitnexus.errors import Overloaded
from bitnexus.supervision.child_process import ChildProcess
from bitnexus.supervision.events import (
    Answer,
    Begin,
    CancelTimer,
    ChildExited,
    ChildHung,
    ChildIgnored,
    ChildStarted,
    ChildStartFailed,
    ChildTooLarge,
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
from bitnexus.supervision.operated import Operated
from bitnexus.supervision.spec import ChildSpec, ProcessStart

#: A child whose `init` takes longer than this, or hangs, is killed: its start has failed.
START_TIMEOUT_S: Final = 30.0
_WATCH_S: Final = 0.25
#: How often the memory of children is read.
_MEASURE_EVERY_S: Final = 1.0


class Supervisor(Operated):
    """Args: `flags` (SupervisorFlags), `children` (list of ChildSpec whose start is a ProcessStart)."""

    def _boot(self, start: StartProcess) -> None:
        self._children: dict[str, ChildProcess] = {}
        self._dead = Dead()
        # The root is the registry; its children find it where it finds itself.
        self._registry_at = (
            start.registry_address or self.transport.peers.address,
            start.registry_instance or self.transport.peers.instance.hex(),
        )
        super()._boot(start)
        self.transport.on_child_death = self._bury_the_dead

    async def init(self) -> None:
        """Begin to start the children, one after another."""
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._ended: asyncio.Future[ExitReason] = self.transport.loop.create_future()
        self._machine = SupervisorMachine(self.args["flags"], self.args["children"], chance=random.random)
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

    def _carry_out(self, effect: Effect) -> None:  # one case an effect
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
                self._operation_answered(effect)
            case _:
                assert_never(effect)

    def _timer_fired(self, token: int) -> None:
        del self._timers[token]
        self._tell(TimerFired(token))

    def _machine_ended(self, reason: ExitReason) -> None:
        self._ended.set_result(reason)
        if not self._stopping:  # it gave up by itself
            self._stopping = True
            self._ending = self.transport.loop.create_task(self._exit(reason, 0 if reason.is_normal else 1))

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
        except Exception as error:  # noqa: BLE001  # a child that cannot be forked has not started: the machine decides
            self._tell(ChildStartFailed(child_id, raised(error)))

    def _fork(self, child_id: str, spec: ChildSpec) -> None:
        assert isinstance(spec.start, ProcessStart)
        module, _, name = spec.start.process.partition(":")
        process_class = getattr(importlib.import_module(module), name)
        start = StartProcess(
            name=child_id,
            path=f"{self.path}/{child_id}",
            link_address=self.transport.peers.address,
            link_instance=self.transport.peers.instance.hex(),
            registry_address=self._registry_at[0],
            registry_instance=self._registry_at[1],
            heartbeat_timeout_s=spec.heartbeat_timeout_s,
            stop_within_s=spec.stop_within_s,
            args=dict(spec.start.args),
        )
        pickle.dumps(start)  # now, rather than when Thespian would drop it in silence
        # Thespian tells a child's pid nowhere else, and a failed fork only by not being there.
        before = len(getattr(self._myRef, "_child_procs", ()))
        address = self.createActor(process_class)
        forked = getattr(self._myRef, "_child_procs", [])
        if len(forked) != before + 1:
            raise OSError("the process could not be forked")
        self._children[child_id] = ChildProcess(spec, forked[-1].childProc, self.transport.loop.time())
        self.send(address, start)

    @handles(ProcessStarted)
    def _child_started(self, message: ProcessStarted, context: Context) -> None:
        child = self._child(message.child, message.pid)
        if child is not None and not child.is_aborted:
            child.came_up(context.connection, self.transport.loop.time())
            self._tell(ChildStarted(message.child, message.pid))

    @handles(Heartbeat)
    def _heartbeat(self, message: Heartbeat, context: Context) -> None:  # noqa: ARG002
        child = self._child(message.child, message.pid)
        if child is not None:
            child.beat(self.transport.loop.time())
            child.mailbox, child.lag_ms, child.is_suspended = message.mailbox, message.loop_lag_ms, message.suspended

    @handles(ProcessExiting)
    def _last_words(self, message: ProcessExiting, context: Context) -> None:  # noqa: ARG002
        child = self._child(message.child, message.pid)
        if child is not None and child.verdict is None:
            child.verdict = ExitReason.decode(message.reason)

    def _child(self, child_id: str, pid: int) -> ChildProcess | None:
        child = self._children.get(child_id)
        return child if child is not None and child.pid == pid else None

    def _bury_the_dead(self) -> None:
        """SIGCHLD came: outside the loop, so nothing else is under way."""
        for child_id, child in list(self._children.items()):
            if child.has_ended:
                del self._children[child_id]
                self._tell(_end_of(child_id, child))
                self._dead.buried(child.pid, self._reason_of(child_id, child))

    def _reason_of(self, child_id: str, child: ChildProcess) -> ExitReason:
        """Why it has ended, in the machine's words: it may have been killed because it hung."""
        ends = self._machine.history.of(child_id)
        return ends[-1].reason if child.is_up and ends else child.reason()

    @handles(GetExit)
    def _asked_why(self, message: GetExit, context: Context) -> None:
        is_alive = any(child.pid == message.pid for child in self._children.values())
        self._dead.asked(message.pid, context, is_alive=is_alive)

    def _stop_child(self, child_id: str, how: str) -> None:
        child = self._children.get(child_id)
        if child is None:
            # Its fork is still to come, and comes first; or it failed, and the machine has been told.
            self.transport.outside_loop(lambda: self._abort_start(child_id))
        elif not child.is_up:
            self._abort_start(child_id)
        elif how != "shutdown" or not child.can_be_asked or not self._ask_to_stop(child):
            child.kill()

    def _abort_start(self, child_id: str) -> None:
        child = self._children.get(child_id)
        if child is not None:
            child.is_aborted = True
            child.kill()

    def _ask_to_stop(self, child: ChildProcess) -> bool:
        assert child.link is not None
        try:
            self.node.cast_over(child.link, StopProcess(""))
        except Overloaded as error:
            self.log.warning("child_cannot_be_asked_to_stop", child=child.spec.id, error=error.detail)
            return False
        return True

    async def _watch(self) -> None:
        """Tell of children that are silent for too long, and of those that grew too large."""
        loop = self.transport.loop
        measure_at = loop.time() + _MEASURE_EVERY_S
        while True:
            if loop.time() >= measure_at:
                measure_at = loop.time() + _MEASURE_EVERY_S
                self._tell_of_the_large()
            due = loop.time() + _WATCH_S
            await asyncio.sleep(_WATCH_S)
            now = loop.time()
            late = max(0.0, now - due)  # this process did not run: it may not have read what its children said
            for child_id, child in list(self._children.items()):
                child.passed_over(late, now)
                if not child.is_hung and child.is_silent(now, START_TIMEOUT_S):
                    child.is_hung = True
                    self.log.error("child_hung", child=child_id, pid=child.pid, silent_s=child.silent_s(now))
                    self._hung(child_id, child)

    def _hung(self, child_id: str, child: ChildProcess) -> None:
        if child.is_up:
            self._tell(ChildHung(child_id, child.pid))
        else:  # to the machine that is a start that fails
            child.verdict = child.verdict or HUNG
            child.kill()

    def _tell_of_the_large(self) -> None:
        for child_id, child in list(self._children.items()):
            limit = child.spec.max_rss
            if limit is not None and child.is_up and not child.is_large and (rss := child.rss_bytes()) > limit:
                child.is_large = True
                self.log.error("child_too_large", child=child_id, pid=child.pid, rss_bytes=rss, max_rss=limit)
                self._tell(ChildTooLarge(child_id, child.pid))


def _end_of(child_id: str, child: ChildProcess) -> Event:
    """What the machine is told of a process that has ended."""
    if child.is_up:
        return ChildExited(child_id, child.pid, child.reason())
    if child.verdict == NORMAL and not child.is_aborted:  # its own word: it found nothing to do
        return ChildIgnored(child_id)
    return ChildStartFailed(child_id, child.reason())
