"""The dynamic supervisor: one_for_one, children of one kind by the million, started and stopped at any time.

>>> machine = DynamicMachine(DynamicFlags(budget=Budget()), ChildSpec("user", start, restart="transient"))
>>> machine.handle(StartDynamicChild("alice", ref), now=0.0)
[Start(id='alice', ...)]

A child that runs is one entry of a dict: its id and its pid. Only one that starts, stops, waits or is set aside has
an object of its own, and only one that failed lately a record. Every event costs the same however many children
there are; their end costs one Stop each, given in slices so that other messages get their turn.

Source of the semantics: Elixir's ``DynamicSupervisor``. A child that ended and is not restarted is forgotten, whatever
its restart type; ``terminate_child`` deletes; the end stops all children at the same time, under one timer for each
length of shutdown time. Beyond it: ids, backoff, and a budget of restarts for each child (:mod:`.dynamic_flags`).
"""

from __future__ import annotations

from typing import Literal, assert_never

from bitnexus.actors.runtime.reasons import HUNG, MAX_RSS, SHUTDOWN, ExitReason
from bitnexus.supervision import events as ev
from bitnexus.supervision.children import Child, Status
from bitnexus.supervision.dynamic_children import DynamicChildren
from bitnexus.supervision.dynamic_flags import DynamicFlags
from bitnexus.supervision.dynamic_queries import DynamicQueries
from bitnexus.supervision.group_stop import GroupStop, first_asked
from bitnexus.supervision.history import History
from bitnexus.supervision.intensity import RestartWindow
from bitnexus.supervision.records import Records
from bitnexus.supervision.rules import Chance, after_exit, is_clean_stop, is_worth_a_report, no_jitter
from bitnexus.supervision.spec import ChildSpec


class DynamicMachine(DynamicQueries):
    """One dynamic supervisor; `template` is the spec of every child that is started without its own."""

    def __init__(self, flags: DynamicFlags, template: ChildSpec, *, chance: Chance = no_jitter) -> None:
        self.flags = flags
        self.history = History()
        self._chance = chance
        self._children = DynamicChildren(template)
        self._records = Records(flags.budget)
        self._window = RestartWindow(flags.intensity, flags.period_s)
        self._exit_reason: ExitReason | None = None
        self._end_of_all: GroupStop | None = None
        self._is_over = False

    def handle(self, event: ev.DynamicEvent, now: float) -> list[ev.Effect]:  # noqa: C901  # one case an event
        """Take one event at the time `now` (monotonic seconds, never less than before); give what is to be done."""
        match event:
            case ev.ChildExited(child_id, pid, reason):
                self._on_exited(child_id, pid, reason, now)
            case ev.StartDynamicChild():
                self._on_start_child(event, now)
            case ev.ChildStarted(child_id, pid):
                self._on_started(child_id, pid, now)
            case ev.ChildIgnored(child_id):
                self._on_not_started(child_id, None, now)
            case ev.ChildStartFailed(child_id, reason):
                self._on_not_started(child_id, reason, now)
            case ev.TerminateChild():
                self._on_terminate(event)
            case ev.ReleaseChild():
                self._on_release(event, now)
            case ev.ChildHung(child_id, pid) | ev.ChildTooLarge(child_id, pid):
                self._on_unfit(event, child_id, pid)
            case ev.TimerFired(token):
                self._on_timer(token, now)
            case ev.Shutdown(reason):
                self._end(reason)
            case _:
                assert_never(event)
        if self._exit_reason is not None and not (self._children.total or self._is_over):
            self._is_over = True
            self._children.emit(ev.Exit(self._exit_reason))
        return self._children.drain()

    def adopt(self, child_id: str, pid: ev.Pid) -> ev.Error | None:
        """Start a child that is up at once: StartDynamicChild and ChildStarted in one; or why it may not start."""
        if error := self._why_no_start(child_id, 0.0):
            return error
        self._children.running[child_id] = pid
        return None

    def disown(self, child_id: str) -> None:
        """Its start has failed after all: take the last :meth:`adopt` of it back."""
        del self._children.running[child_id]

    # -- operators ------------------------------------------------------------------------------------------------

    def _why_no_start(self, child_id: str, now: float) -> ev.Error | None:
        if self._exit_reason is not None:
            return ev.Error("noproc" if self._is_over else "shutdown")
        return self._children.why_no_start(child_id, now, self.flags.max_children)

    def _on_start_child(self, call: ev.StartDynamicChild, now: float) -> None:
        error = self._why_no_start(call.id, now)
        if error is None and call.spec is not None and call.spec.significant:
            error = ev.Error("bad_combination", "a child of a dynamic supervisor cannot be significant")
        if error is not None:
            self._children.emit(ev.Answer(call.ref, error))
            return
        if call.spec is not None:
            self._children.specs[call.id] = call.spec
        child = self._children.add(call.id, self._children.spec(call.id))
        self._children.start(child, "start_child")
        child.start_refs.append(call.ref)

    def _on_terminate(self, call: ev.TerminateChild) -> None:
        child = self._children.take_out(call.id)
        if child is None:
            self._children.emit(ev.Answer(call.ref, ev.Error("noproc" if self._is_over else "not_found")))
            return
        child.terminate_refs.append(call.ref)
        if not child.is_alive:
            self._forget(child, "terminated")
        elif child.status is not Status.STOPPING:
            self._children.stop(child)

    def _on_release(self, call: ev.ReleaseChild, now: float) -> None:
        child = self._children.get(call.id)
        if child is not None and child.status is Status.QUARANTINED:
            self._children.emit(ev.Answer(call.ref, ev.Ok()))
            self._release(child, now, "operator")
        else:
            code: ev.ErrorCode = "not_quarantined" if self._children.knows(call.id) else "not_found"
            self._children.emit(ev.Answer(call.ref, ev.Error(code)))

    # -- events of a child ----------------------------------------------------------------------------------------

    def _on_started(self, child_id: str, pid: ev.Pid, now: float) -> None:
        child = self._children.get(child_id)
        if child and child.status is Status.STARTING:
            if child.cause == "restart":
                self.history.restarted(child_id)
            self._children.started(child, pid, now)
            self._children.report("progress", child, None, child.cause)
            self._children.put_back(child)
            if (record := self._records.get(child_id)) is not None:
                record.started_at = now
        elif child and child.status is Status.STOPPING and child.pid is None:
            self._children.started_too_late(child, pid)
        else:
            self._children.report_unexpected("ChildStarted", child_id, pid, None)

    def _on_not_started(self, child_id: str, failure: ExitReason | None, now: float) -> None:
        """A start came to nothing: it failed, or (None) it was ignored."""
        child = self._children.get(child_id)
        if child and child.status is Status.STOPPING and child.pid is None:
            self._forget(child, "terminated" if child.terminate_refs else "shutdown")
        elif not child or child.status is not Status.STARTING:
            event = "ChildIgnored" if failure is None else "ChildStartFailed"
            self._children.report_unexpected(event, child_id, None, failure)
        elif failure is None:
            self._children.answer_starts(child, ev.Ok())
            self._forget(child)
        elif child.cause == "start_child":
            self._children.answer_starts(child, ev.Error("start_failed", failure))
            self._forget(child)
        else:
            self._children.report("start_error", child, failure, child.cause)
            self.history.failed_to_start(child_id, failure, now=now)
            self._children.wait(child, Status.RESTARTING, self._wait_s(child, now, crashed=False), now)

    def _on_exited(self, child_id: str, pid: ev.Pid, reason: ExitReason, now: float) -> None:
        if self._end_of_all is not None and self._children.running.get(child_id) == pid:
            self._stopped_at_the_end(self._end_of_all, child_id, pid, reason)
            return
        if self.flags.on_demand and not self._children.knows(child_id) and self._end_of_all is None:
            self._children.running[child_id] = pid  # this is how a child on demand makes itself known
        child = self._children.take_out(child_id, pid)
        if child is None:
            self._children.report_unexpected("ChildExited", child_id, pid, reason)
        elif child.status is Status.RUNNING:
            self._ended_by_itself(child, reason, now)
        elif child.verdict is not None and not child.terminate_refs and self._exit_reason is None:
            self._ended_by_itself(child, child.verdict, now)
        else:
            if not is_clean_stop(child.spec.restart, child.first_asked, reason):
                self._children.report("shutdown_error", child, reason, child.how)
                self._note(child, reason, now)
            self._forget(child, "terminated" if child.terminate_refs else "shutdown")

    def _ended_by_itself(self, child: Child, reason: ExitReason, now: float) -> None:
        follows = after_exit(child.spec.restart, reason)
        if is_worth_a_report(child.spec.restart, reason):
            self._children.report("child_terminated", child, reason, "restart" if follows == "restart" else "delete")
            self._note(child, reason, now)
        self._children.rest(child, Status.STOPPED)
        if follows != "restart":
            self._forget(child)
            return
        wait_s = self._wait_s(child, now, crashed=True)
        if wait_s > 0:
            self._children.wait(child, Status.RESTARTING, wait_s, now)
        else:
            self._restart(child, now)

    def _note(self, child: Child, reason: ExitReason, now: float) -> None:
        # When a child was started is known only of those that had failed before.
        record = self._records.get(child.id)
        uptime_s = now - record.started_at if record else None
        self.history.exited(child.id, reason, now=now, uptime_s=uptime_s)

    def _on_unfit(self, event: ev.ChildHung | ev.ChildTooLarge, child_id: str, pid: ev.Pid) -> None:
        child = self._children.take_out(child_id, pid)
        if child is None:
            self._children.report_unexpected(type(event).__name__, child_id, pid, None)
        elif isinstance(event, ev.ChildHung):
            self._children.replace(child, HUNG, "kill")
        else:
            self._children.replace(child, MAX_RSS, child.first_asked)

    def _forget(self, child: Child, code: Literal["terminated", "shutdown"] = "terminated") -> None:
        """Nothing of it is alive and nothing is planned."""
        self._children.answer_starts(child, ev.Error(code))
        self._children.rest(child, Status.STOPPED)
        self._children.remove(child)
        self._children.specs.pop(child.id, None)
        self._records.forget(child.id)

    # -- restarts -------------------------------------------------------------------------------------------------

    def _wait_s(self, child: Child, now: float, *, crashed: bool) -> float:
        record = self._records.failed(child.id, child.spec.backoff, now)
        if record is None:
            return 0.0
        child.failures, child.started_at = record.failures, record.started_at
        wait_s = child.wait_s(now, self._chance(), crashed=crashed)
        record.failures = child.failures
        return wait_s

    def _restart(self, child: Child, now: float) -> None:
        """One attempt: one unit of the child's budget if there is one, else of the supervisor's intensity."""
        budget = self.flags.budget
        if budget is not None:
            if not self._records.take(child.id, now):
                self._children.report("quarantined", child, None, f"{budget.quarantine_s:g} s")
                self._children.wait(child, Status.QUARANTINED, budget.quarantine_s, now)
                return
        elif not self._window.take(now):
            self._children.report("shutdown", child, SHUTDOWN, "reached_max_restart_intensity")
            self._end(SHUTDOWN)
            return
        self._start_again(child, now)

    def _start_again(self, child: Child, now: float) -> None:
        self._children.start(child, "restart")
        if self.flags.on_demand:
            # The driver starts it when there is work for it, and says nothing.
            if (record := self._records.get(child.id)) is not None:
                record.started_at = now
            self.history.restarted(child.id)
            self._children.hand_over(child)

    def _release(self, child: Child, now: float, by: str) -> None:
        self._children.report("released", child, None, by)
        self._records.forget(child.id)
        self._children.rest(child, Status.STOPPED)
        self._start_again(child, now)

    def _on_timer(self, token: int, now: float) -> None:
        if self._end_of_all is not None and self._end_of_all.fired(token):
            return
        child = self._children.fired(token)
        if child is None:
            return  # it was cancelled while its message was under way
        if child.status is Status.STOPPING:
            self._children.kill(child)
        elif child.status is Status.QUARANTINED:
            self._release(child, now, "timer")
        else:
            assert child.status is Status.RESTARTING, child
            self._children.rest(child, Status.STOPPED)
            self._restart(child, now)

    # -- the end --------------------------------------------------------------------------------------------------

    def _end(self, reason: ExitReason) -> None:
        if self._exit_reason is not None:
            return  # the first reason counts
        self._exit_reason = reason
        for child in self._children:
            if not child.is_alive:
                self._forget(child, "shutdown")
            elif child.status is not Status.STOPPING:
                self._children.stop(child)
        self._end_of_all = GroupStop(self._children)

    def _stopped_at_the_end(self, end: GroupStop, child_id: str, pid: ev.Pid, reason: ExitReason) -> None:
        spec = self._children.spec(child_id)
        end.stopped(child_id)
        how = first_asked(spec)
        if not is_clean_stop(spec.restart, how, reason):
            self._children.emit(ev.Report("shutdown_error", child_id, pid, reason, how))
