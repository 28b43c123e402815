"""What a supervisor of processes does for operators: it tells of its children, and starts, stops and kills them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, cast

import msgspec

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.errors import BadRequest
from bitnexus.supervision import events as ev
from bitnexus.supervision.child_process import ChildProcess
from bitnexus.supervision.children import Child
from bitnexus.supervision.history import CHILDREN, Ended
from bitnexus.supervision.inspection_messages import (
    ChildOperated,
    ChildrenReport,
    ChildReport,
    End,
    Ends,
    GetChildren,
    GetEnds,
    OperateChild,
)
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import ChildSpec, ProcessStart

#: A start for an operator that fails leaves the child stopped; in a restart it is tried so often.
_START_ATTEMPTS: Final = 3


class Operated(Process):
    """Base of Supervisor, whose machine and children it works with."""

    _machine: SupervisorMachine
    _children: dict[str, ChildProcess]

    def _tell(self, event: ev.Event) -> None:
        raise NotImplementedError

    def summary(self) -> dict[str, Scalar]:
        """Flags and counts."""
        flags, counts = self._machine.flags, self._machine.count_children()
        return {
            "strategy": flags.strategy,
            "restarts": f"{self._machine.restarts_used(self._now())} of {flags.intensity} in {flags.period_s:g} s",
            "children": counts.specs,
            "active": counts.active,
            "crashes": self._machine.history.totals.crashes,
        }

    @handles(GetChildren)
    def _children_asked(self, message: GetChildren, context: Context) -> ChildrenReport:  # noqa: ARG002 - a question
        flags, now = self._machine.flags, self._now()
        return ChildrenReport(
            path=self.path,
            pid=os.getpid(),
            strategy=flags.strategy,
            restarts_used=self._machine.restarts_used(now),
            restarts_allowed=flags.intensity,
            period_s=flags.period_s,
            children=[self._report_of(child, now) for child in self._machine.children()],
            replicas=flags.replicas,
        )

    @handles(GetEnds)
    def _ends_asked(self, message: GetEnds, context: Context) -> Ends:  # noqa: ARG002 - nobody in particular
        history, now = self._machine.history, self._now()
        # Those that ended, whether they are still there or not.
        ids = [message.child] if message.child else [child_id for child_id, _ in history.latest(CHILDREN)]
        return Ends([end_of(each, ended, now) for each in ids for ended in history.of(each)])

    @handles(OperateChild)
    async def _operate(self, message: OperateChild, context: Context) -> ChildOperated:  # noqa: ARG002 - as above
        child_id = message.child
        self.log.warning("operated", child=child_id, operation=message.operation)
        match message.operation:
            case "start":
                result = await self.operate(partial(ev.RestartChild, child_id))
            case "stop":
                result = await self.operate(partial(ev.TerminateChild, child_id))
            case "restart":
                result = await self._restart(child_id)
            case "kill":
                result = self._kill(child_id)
            case _:
                raise BadRequest(f"There is no operation {message.operation!r}")
        return operated(result)

    async def _restart(self, child_id: str) -> ev.Ok | ev.Error:
        result = await self.operate(partial(ev.TerminateChild, child_id))
        attempts = 0
        while isinstance(result, ev.Ok):
            result = await self.operate(partial(ev.RestartChild, child_id))
            attempts += 1
            if isinstance(result, ev.Ok) or result.code in ("running", "restarting"):
                return ev.Ok()  # a sweep of its siblings was quicker
            if result.code == "start_failed" and attempts < _START_ATTEMPTS:
                result = ev.Ok()
        return result

    def _kill(self, child_id: str) -> ev.Ok | ev.Error:
        child = self._children.get(child_id)
        if child is None:
            return ev.Error("not_found")
        child.kill()  # what follows is what follows on any death
        return ev.Ok(child.pid)

    async def operate(self, operation: Callable[[ev.Ref], ev.Operation]) -> ev.Ok | ev.Error:
        """Carry out what `operation` makes of a reference; returns when it is done, as OTP's calls do.

        Meanwhile everything else is handled. ``await self.operate(partial(TerminateChild, "a"))``
        """
        answer: asyncio.Future[ev.Ok | ev.Error] = self.transport.loop.create_future()
        self._tell(operation(answer))
        return await answer

    def _operation_answered(self, answer: ev.Answer) -> None:
        """The machine has an operation's result."""
        assert isinstance(answer.ref, asyncio.Future)
        if not answer.ref.done():  # whoever asked may have gone
            answer.ref.set_result(answer.result)

    def _report_of(self, child: Child, now: float) -> ChildReport:
        process, history = self._children.get(child.id), self._machine.history
        counters, ends = history.counters(child.id), history.of(child.id)
        is_up = child.pid is not None
        return msgspec.structs.replace(
            declared(child.spec),
            status="suspended" if process is not None and process.is_suspended else child.status.name.lower(),
            pid=process.pid if process is not None else None,
            uptime_s=now - child.started_at if is_up else None,
            restarts=counters.restarts,
            exits=counters.exits,
            mailbox=process.mailbox if process is not None else 0,
            lag_ms=process.lag_ms if process is not None else 0.0,
            last_exit=str(ends[-1].reason) if ends else "",
            last_exit_us=wall_us(ends[-1].at_s, now) if ends else 0,
        )

    def _now(self) -> float:
        return self.transport.loop.time()


def declared(spec: ChildSpec) -> ChildReport:
    """A child that has never been started, and below it what it would start."""
    below = spec.start.args.get("children", ()) if isinstance(spec.start, ProcessStart) else ()
    return ChildReport(
        id=spec.id,
        kind=spec.type,
        restart=spec.restart,
        status="stopped",
        pid=None,
        uptime_s=None,
        stop_within_s=0.0 if spec.shutdown == "brutal_kill" else spec.stop_within_s,
        restarts=0,
        exits=0,
        mailbox=0,
        lag_ms=0.0,
        last_exit="",
        last_exit_us=0,
        declared=[declared(each) for each in cast("Iterable[ChildSpec]", below)] if spec.type == "supervisor" else [],
    )


def operated(result: ev.Ok | ev.Error) -> ChildOperated:
    """The result of an operation as it travels."""
    if isinstance(result, ev.Ok):
        return ChildOperated("ok")
    return ChildOperated(result.code, "" if result.detail is None else str(result.detail))


def end_of(child_id: str, ended: Ended, now: float) -> End:
    """An end as it travels; `now` is the time of the clock by which `ended` was noted."""
    return End(child_id, wall_us(ended.at_s, now), str(ended.reason), ended.uptime_s, ended.traceback)


def wall_us(at_s: float, now: float) -> int:
    """A time of the loop's clock, which now shows `now`, in microseconds since 1970."""
    return int((time.time() - (now - at_s)) * 1_000_000)
