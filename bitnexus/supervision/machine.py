"""The supervisor: ``(state, event, now) -> (state, effects)`` with OTP's rules and no I/O.

>>> machine = SupervisorMachine(SupervisorFlags(), [ChildSpec("ledger", ProcessStart("app:Ledger"))])
>>> machine.handle(Begin(), now=0.0)
[Start(id='ledger', ...)]

A driver carries the effects out and tells what came of them (the contract is in :mod:`.events`). Nothing waits:
while a child starts, stops or is tried again, every other event is handled. Where OTP's supervisor, which blocks,
would look at an event later, this machine acts at once: a crash during a sweep extends the sweep and starts it over.

What each exit leads to stands in :mod:`.rules`. A child with a backoff waits before each restart, under every strategy:
its attempt, and with it the unit of intensity and the sweep of its siblings, comes when the wait is over.

Source of the semantics: OTP's ``supervisor`` (stdlib) and its documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, assert_never

from bitnexus.actors.runtime.reasons import HUNG, MAX_RSS, SHUTDOWN, ExitReason, failed_to_start_child
from bitnexus.supervision import events as ev
from bitnexus.supervision import operations
from bitnexus.supervision.children import Child, Children, Status
from bitnexus.supervision.history import History
from bitnexus.supervision.intensity import RestartWindow
from bitnexus.supervision.rules import Chance, after_exit, is_clean_stop, is_worth_a_report, no_jitter
from bitnexus.supervision.spec import ChildSpec, SupervisorFlags, check_specs
from bitnexus.supervision.sweep import Sweep


class SupervisorMachine:
    """One supervisor of a fixed order of children. Raises SpecError if flags and specs do not fit each other.

    `chance` gives the random numbers for the jitter of backoffs.
    """

    def __init__(self, flags: SupervisorFlags, specs: Iterable[ChildSpec], *, chance: Chance = no_jitter) -> None:
        specs = list(specs)
        check_specs(flags, specs)
        self.flags = flags
        self.history = History()
        self._chance = chance
        self._children = Children()
        for spec in specs:
            self._children.add(spec.id, spec)
        self._window = RestartWindow(flags.intensity, flags.period_s)
        self._sweep: Sweep | None = None
        self._phase: Literal["new", "up", "ending", "ended"] = "new"

    def handle(self, event: ev.Event, now: float) -> list[ev.Effect]:
        """Take one event at the time `now` (monotonic seconds, never less than before); give what is to be done."""
        assert (self._phase == "new") == isinstance(event, ev.Begin), event
        match event:
            case ev.Begin():
                self._begin()
            case ev.ChildStarted(child_id, pid):
                self._on_started(child_id, pid, now)
            case ev.ChildIgnored(child_id):
                self._on_not_started(child_id, None, now)
            case ev.ChildStartFailed(child_id, reason):
                self._on_not_started(child_id, reason, now)
            case ev.ChildExited(child_id, pid, reason):
                self._on_exited(child_id, pid, reason, now)
            case ev.ChildHung(child_id, pid) | ev.ChildTooLarge(child_id, pid):
                self._on_unfit(event, child_id, pid)
            case ev.TimerFired(token):
                self._on_timer(token, now)
            case ev.Shutdown(reason):
                self._end(reason)
            case ev.StartChild() | ev.RestartChild() | ev.DeleteChild() | ev.TerminateChild():
                self._operate(event)
            case _:
                assert_never(event)
        self._advance()
        return self._children.drain()

    # -- queries --------------------------------------------------------------------------------------------------

    def which_children(self) -> list[ev.ChildInfo]:
        """All children, newest first."""
        return self._children.infos()

    def children(self) -> Iterator[Child]:
        """All children in start order: to be looked at."""
        return iter(self._children)

    def count_children(self) -> ev.ChildCounts:
        """How many specs and live children there are."""
        return self._children.counts()

    def get_childspec(self, child_id: str) -> ChildSpec | ev.Error:
        """The spec of a child, or ``ev.Error("not_found")``."""
        child = self._children.get(child_id)
        return child.spec if child else ev.Error("not_found")

    def restarts_used(self, now: float) -> int:
        """How many of the allowed restarts count at this time."""
        return self._window.used(now)

    # -- events of a child ----------------------------------------------------------------------------------------

    def _on_started(self, child_id: str, pid: ev.Pid, now: float) -> None:
        child = self._children.get(child_id)
        if child and child.status is Status.STARTING:
            if child.cause in ("restart", "sweep"):
                self.history.restarted(child_id)
            self._children.started(child, pid, now)
            self._children.report("progress", child, None, child.cause)
        elif child and child.status is Status.STOPPING and child.pid is None:
            self._children.started_too_late(child, pid)
        else:
            self._children.report_unexpected("ChildStarted", child_id, pid, None)

    def _on_not_started(self, child_id: str, failure: ExitReason | None, now: float) -> None:
        """A start came to nothing: it failed, or (None) it was ignored."""
        child = self._children.get(child_id)
        if child and child.status is Status.STOPPING and child.pid is None:
            self._stopped(child)
        elif not child or child.status is not Status.STARTING:
            self._children.report_unexpected(
                "ChildIgnored" if failure is None else "ChildStartFailed", child_id, None, failure
            )
        elif failure is None:
            self._children.answer_starts(child, ev.Ok())
            if self._has_to_stop(child):
                self._stopped(child)
            else:
                self._children.settle(child)
        elif child.cause in ("start_child", "restart_child"):
            # The operator hears of it, nobody else; what the operator added is gone.
            self._children.answer_starts(child, ev.Error("start_failed", failure))
            self._children.rest(child, Status.STOPPED)
            if child.cause == "start_child" or child.is_temporary:
                self._children.remove(child)
        else:
            self._children.report("start_error", child, failure, child.cause)
            self.history.failed_to_start(child_id, failure, now=now)
            self._on_start_failed(child, failure, now)

    def _on_start_failed(self, child: Child, failure: ExitReason, now: float) -> None:
        if self._has_to_stop(child):
            self._stopped(child)
            return
        self._children.answer_starts(child, ev.Error("start_failed", failure))
        if child.cause == "initial_start":
            self._children.settle(child)
            self._end(failed_to_start_child(child.id, failure))
            return
        if child.cause == "sweep":
            self._give_sweep_up(failure)
        # Without backoff at once, but not before other messages had their turn.
        wait_s = child.wait_s(now, self._chance(), crashed=False)
        self._children.wait(child, Status.RESTARTING, wait_s, now)

    def _on_exited(self, child_id: str, pid: ev.Pid, reason: ExitReason, now: float) -> None:
        child = self._children.get(child_id)
        if not child or child.pid is None or child.pid != pid:
            self._children.report_unexpected("ChildExited", child_id, pid, reason)
            return
        has_to_stop = self._has_to_stop(child)
        if child.verdict is not None and not has_to_stop and not child.terminate_refs:
            reason = child.verdict
            has_to_run = True
        else:
            has_to_run = child.status is Status.RUNNING and not has_to_stop
        self.history.exited(child_id, reason, now=now, uptime_s=now - child.started_at)
        if has_to_run:
            self._ended_by_itself(child, reason, now)
        else:
            if not is_clean_stop(child.spec.restart, child.first_asked, reason):
                self._children.report("shutdown_error", child, reason, child.how)
            self._stopped(child)

    def _on_unfit(self, event: ev.ChildHung | ev.ChildTooLarge, child_id: str, pid: ev.Pid) -> None:
        child = self._children.get(child_id)
        if not child or child.pid is None or child.pid != pid:
            self._children.report_unexpected(type(event).__name__, child_id, pid, None)
        elif isinstance(event, ev.ChildHung):
            self._children.replace(child, HUNG, "kill")
        else:
            self._children.replace(child, MAX_RSS, child.first_asked)

    def _ended_by_itself(self, child: Child, reason: ExitReason, now: float) -> None:
        follows = after_exit(child.spec.restart, reason)
        if is_worth_a_report(child.spec.restart, reason):
            self._children.report("child_terminated", child, reason, follows)
        if follows == "restart":
            wait_s = child.wait_s(now, self._chance(), crashed=True)
            if wait_s > 0:
                self._children.wait(child, Status.RESTARTING, wait_s, now)
            else:
                self._children.rest(child, Status.STOPPED)
                self._restart(child, now)
        else:
            self._children.settle(child)
            if self._is_end_of_significant(child):
                self._end(SHUTDOWN)

    def _is_end_of_significant(self, ended: Child) -> bool:
        if not ended.spec.significant or self.flags.auto_shutdown == "never":
            return False
        if self.flags.auto_shutdown == "any_significant":
            return True
        return not any(child.spec.significant and child.status is not Status.STOPPED for child in self._children)

    def _on_timer(self, token: int, now: float) -> None:
        child = self._children.fired(token)
        if child is None:
            return  # it was cancelled while its message was under way
        if child.status is Status.STOPPING:
            self._children.kill(child)
        else:
            assert child.status is Status.RESTARTING, child
            self._children.rest(child, Status.STOPPED)
            self._restart(child, now)

    def _has_to_stop(self, child: Child) -> bool:
        """A sweep will stop it or has asked it to: whatever ends it before is the end that was wanted."""
        return self._sweep is not None and self._sweep.stops(child.id)

    def _stopped(self, child: Child) -> None:
        """A child that had to stop has stopped; an operator's wish is stronger than a sweep that wants it again."""
        wanted_again = self._phase == "up" and not child.terminate_refs
        if wanted_again and not child.is_temporary:
            self._children.rest(child, Status.WAITING)
        else:
            self._children.answer_starts(child, ev.Error("terminated" if child.terminate_refs else "shutdown"))
            self._children.settle(child)

    # -- restarts -------------------------------------------------------------------------------------------------

    def _restart(self, child: Child, now: float) -> None:
        """One attempt, one unit of the intensity."""
        if not self._window.take(now):
            self._children.report("shutdown", child, SHUTDOWN, "reached_max_restart_intensity")
            self._end(SHUTDOWN)
        elif self.flags.strategy == "one_for_one":
            self._children.start(child, "restart")
        else:
            self._sweep_from(child)

    def _sweep_from(self, child: Child) -> None:
        scope = self._children.ids()
        if self.flags.strategy == "rest_for_one":
            affected = {child.id} | (self._sweep.unfinished(self._children) if self._sweep else set())
            scope = scope[next(at for at, child_id in enumerate(scope) if child_id in affected) :]
        for child_id in scope:
            member = self._children.get(child_id)
            if member and not member.is_alive:
                self._children.rest(member, Status.WAITING)
        self._sweep = Sweep(scope, is_initial=self._sweep is not None and self._sweep.is_initial)

    def _give_sweep_up(self, failure: ExitReason) -> None:
        """A start of the sweep failed: those whose turn had not come stay stopped until the next attempt."""
        self._sweep = None
        for child in self._children:
            if child.status is Status.WAITING:
                self._children.answer_starts(child, ev.Error("start_failed", failure))
                self._children.settle(child)

    def _operate(self, call: ev.Operation) -> None:
        if self._phase == "ended":
            self._children.emit(ev.Answer(call.ref, ev.Error("noproc")))
        elif self._phase == "ending" and not isinstance(call, ev.TerminateChild):
            self._children.emit(ev.Answer(call.ref, ev.Error("shutdown")))
        else:
            operations.carry_out(call, self._children, self.flags, self._sweep)

    # -- begin and end --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._phase = "up"
        for child in self._children:
            self._children.rest(child, Status.WAITING)
        self._sweep = Sweep(self._children.ids(), stops=False, is_initial=True)

    def _end(self, reason: ExitReason) -> None:
        if self._phase != "up":
            return  # the first reason counts
        self._phase = "ending"
        for child in self._children:
            if not child.is_alive:
                self._children.answer_starts(child, ev.Error("shutdown"))
                self._children.settle(child)
        self._sweep = Sweep(self._children.ids(), exit_reason=reason)

    def _advance(self) -> None:
        sweep = self._sweep
        if sweep is None or not sweep.advance(self._children):
            return
        self._sweep = None
        if sweep.exit_reason is not None:
            self._phase = "ended"
            self._children.emit(ev.Exit(sweep.exit_reason))
        elif sweep.is_initial:
            self._children.emit(ev.Running())
