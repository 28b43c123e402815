"""Random crashes, failed starts, operators and time against what must hold of every supervisor.

The test plays the driver: it keeps its own account of what is starting, alive and timed, built from effects and
events alone, and checks every effect against it.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bitnexus.actors.runtime.reasons import ABORTED, NORMAL, SHUTDOWN, exited, killed, shutdown
from bitnexus.supervision import events as ev
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import Backoff, ChildSpec, ProcessStart, Restart, SupervisorFlags

#: Its only wait; no spec here has such a shutdown time, nor one of 0.
WAIT_S = 0.7
BACKOFF = Backoff(first_s=WAIT_S, factor=1, ceiling_s=WAIT_S, jitter=0)
IDS = [f"c{number}" for number in range(6)]
REASONS = st.sampled_from([NORMAL, SHUTDOWN, shutdown("done"), killed(9), exited(1)])
STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])
CALLS: st.SearchStrategy[type[ev.RestartChild | ev.DeleteChild | ev.TerminateChild]] = st.sampled_from(
    [ev.RestartChild, ev.DeleteChild, ev.TerminateChild]
)


@st.composite
def child_specs(draw: st.DrawFn, *, ids: st.SearchStrategy[str], significant: bool) -> ChildSpec:
    restart: Restart = draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"]))
    return ChildSpec(
        draw(ids),
        ProcessStart("some.module:Class"),
        restart=restart,
        shutdown=draw(st.sampled_from([5000, 100, "brutal_kill", "infinity"])),
        type=draw(st.sampled_from(["worker", "supervisor"])),
        backoff=draw(st.sampled_from([None, None, BACKOFF])),
        significant=significant and restart != "permanent" and draw(st.booleans()),
    )


class Supervised(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 50.0
        self.live: dict[str, object] = {}
        self.starting: set[str] = set()
        self.asked: dict[str, str] = {}  # how each child that must stop was asked last
        self.timers: dict[int, float] = {}  # token -> due
        self.retries: set[int] = set()
        self.refs: set[int] = set()
        self.units: list[float] = []  # times of attempts to restart
        self.temporary_started: set[str] = set()
        self.terminated: set[str] = set()  # operators wanted these to stop
        self.unfit: set[str] = set()  # these hung, or grew too large
        self.serial = 0
        self.is_up = self.is_ending = self.is_over = False

    @initialize(
        strategy=STRATEGIES,
        intensity=st.integers(0, 8),
        auto_shutdown=st.sampled_from(["never", "never", "any_significant", "all_significant"]),
        count=st.integers(0, 5),
        data=st.data(),
    )
    def begin(self, strategy: str, intensity: int, auto_shutdown: str, count: int, data: st.DataObject) -> None:
        self.flags = SupervisorFlags(strategy, intensity, 5, auto_shutdown)  # type: ignore[arg-type]
        self.specs = child_specs(ids=st.sampled_from(IDS), significant=auto_shutdown != "never")
        specs = [
            data.draw(child_specs(ids=st.just(child_id), significant=auto_shutdown != "never"))
            for child_id in IDS[:count]
        ]
        self.machine = SupervisorMachine(self.flags, specs)
        self.send(ev.Begin())

    # -- what happens ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), outcome=st.sampled_from(["started", "started", "started", "ignored", "failed"]))
    def a_start_is_answered(self, data: st.DataObject, outcome: str) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.discard(child_id)
        if outcome == "started":
            self.serial += 1
            self.live[child_id] = self.serial
            self.send(ev.ChildStarted(child_id, self.serial))
            return
        self.asked.pop(child_id, None)
        self.send(ev.ChildIgnored(child_id) if outcome == "ignored" else ev.ChildStartFailed(child_id, killed(6)))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), reason=REASONS)
    def a_child_exits(self, data: st.DataObject, reason: object) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.live)))
        self.asked.pop(child_id, None)
        self.send(ev.ChildExited(child_id, self.live.pop(child_id), reason))  # type: ignore[arg-type]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), event=st.sampled_from([ev.ChildHung, ev.ChildTooLarge]))
    def a_child_is_unfit(self, data: st.DataObject, event: type[ev.ChildHung | ev.ChildTooLarge]) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.live)))
        self.unfit.add(child_id)
        self.send(event(child_id, self.live[child_id]))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def a_timer_fires(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.timers)))
        self.now = max(self.now, self.timers.pop(token))
        self.send(ev.TimerFired(token), retry=token in self.retries)

    @rule()
    def a_cancelled_timer_fires_late(self) -> None:
        assert self.machine.handle(ev.TimerFired(-1), self.now) == []

    @rule(after_s=st.sampled_from([0.5, 2.5, 5.0, 5.5]))
    def time_passes(self, after_s: float) -> None:
        self.now += after_s

    @rule(data=st.data())
    def an_operator_starts_a_child(self, data: st.DataObject) -> None:
        self.serial += 1
        self.refs.add(self.serial)
        self.send(ev.StartChild(data.draw(self.specs), self.serial))

    @rule(call=CALLS, child_id=st.sampled_from(IDS))
    def an_operator_calls(
        self, call: type[ev.RestartChild | ev.DeleteChild | ev.TerminateChild], child_id: str
    ) -> None:
        self.serial += 1
        self.refs.add(self.serial)
        if call is ev.TerminateChild:
            self.terminated.add(child_id)
        self.send(call(child_id, self.serial))

    @precondition(lambda self: self.serial > 15)  # late enough for something to have happened
    @rule()
    def shutdown(self) -> None:
        self.is_ending = True
        self.send(ev.Shutdown(SHUTDOWN))

    # -- the driver's account -------------------------------------------------------------------------------------

    def send(self, event: ev.Event, *, retry: bool = False) -> None:
        effects = self.machine.handle(event, self.now)
        restarts = retry + sum(
            isinstance(e, ev.Report) and e.context == "restart" and e.kind == "child_terminated" for e in effects
        )
        if isinstance(event, ev.ChildExited) and any(
            isinstance(e, ev.SetTimer) and e.after_s == WAIT_S for e in effects
        ):
            restarts = 0  # it backs off: the attempt is yet to come
        gives_up = any(isinstance(e, ev.Report) and e.kind == "shutdown" for e in effects)
        self.check_intensity(restarts, gives_up=gives_up)
        self.is_ending |= gives_up
        for effect in effects:
            self.carry_out(event, effect)

    def check_intensity(self, restarts: int, *, gives_up: bool) -> None:
        assert restarts <= 1
        self.units += [self.now] * restarts
        counting = [at for at in self.units if at >= self.now - self.flags.period_s]
        assert gives_up == (restarts == 1 and len(counting) > self.flags.intensity)

    def carry_out(self, event: ev.Event, effect: ev.Effect) -> None:
        assert not self.is_over or isinstance(effect, ev.Answer), effect
        match effect:
            case ev.Start(child_id, spec):
                self.check_start(event, child_id, spec)
                self.starting.add(child_id)
            case ev.Stop(child_id, pid, how):
                self.check_stop(child_id, pid, how)
                self.asked[child_id] = how
            case ev.SetTimer(token, after_s):
                assert token not in self.timers
                self.timers[token] = self.now + after_s
                if after_s in (0, WAIT_S):
                    self.retries.add(token)
            case ev.CancelTimer(token):
                del self.timers[token]
            case ev.Answer(ref, _):
                assert isinstance(ref, int)
                self.refs.remove(ref)
            case ev.Report(kind, child_id, _, _, context):
                assert kind != "unexpected", effect
                # Under the other strategies a sweep may have been about to stop and start this child anyway.
                fatal = kind == "start_error" and context == "initial_start"
                self.is_ending |= fatal and self.flags.strategy == "one_for_one"
            case ev.Running():
                assert not self.is_up
                self.is_up = True
            case ev.Exit(_):
                assert (self.live, self.starting, self.timers, self.refs) == ({}, set(), {}, set())
                self.is_over = self.is_ending = True

    def check_start(self, event: ev.Event, child_id: str, spec: ChildSpec) -> None:
        assert child_id not in self.live, "two live pids for one id"
        assert child_id not in self.starting, "two starts at once for one id"
        assert not self.is_ending, "a start while the supervisor ends"
        assert self.machine.get_childspec(child_id) == spec
        if isinstance(event, ev.StartChild):
            self.temporary_started.discard(child_id)
        if spec.restart == "temporary":
            assert child_id not in self.temporary_started, "a temporary child was started again"
            self.temporary_started.add(child_id)

    def check_stop(self, child_id: str, pid: object, how: str) -> None:
        assert pid == self.live[child_id] if pid is not None else child_id in self.starting
        spec = self.machine.get_childspec(child_id)
        assert isinstance(spec, ChildSpec)
        assert how == "shutdown" or spec.shutdown == "brutal_kill" or child_id in self.asked.keys() | self.unfit, (
            "killed unasked"
        )
        if self.is_ending and child_id not in self.asked and child_id not in self.unfit:
            order = [row.id for row in self.machine.which_children()]
            newer = set(order[: order.index(child_id)])
            assert not newer & (self.live.keys() | self.starting), "stopped before a newer child had ended"
        if self.flags.strategy == "one_for_one" and self.flags.auto_shutdown == "never":
            assert self.is_ending or child_id in self.terminated | self.unfit, (
                "stopped a child that nobody wanted stopped"
            )

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def the_children_shown_are_those_alive(self) -> None:
        rows = {row.id: row.child for row in self.machine.which_children()}
        assert {child_id: pid for child_id, pid in rows.items() if pid not in (None, "restarting")} == self.live
        assert self.starting <= {child_id for child_id, child in rows.items() if child == "restarting"}
        counts = self.machine.count_children()
        assert (counts.specs, counts.active) == (len(rows), len(self.live))
        assert counts.supervisors + counts.workers == counts.specs

    @invariant()
    def nothing_waits_for_nothing(self) -> None:
        under_way = self.starting or self.asked
        rows = self.machine.which_children()
        if any(row.child == "restarting" for row in rows):
            assert under_way or self.timers
        if self.refs:
            assert under_way
        if self.is_ending and not self.is_over:
            assert self.asked, "an end that nobody drives"
        if not self.is_up and not self.is_ending and self.flags.auto_shutdown == "never":
            assert under_way or self.is_over, "a first start that nobody drives"

    @invariant()
    def every_stop_is_bounded_by_a_timer_unless_it_is_a_kill_or_has_infinity(self) -> None:
        bounded = [
            child_id
            for child_id, how in self.asked.items()
            if how == "shutdown" and self.machine.get_childspec(child_id).stop_within_s is not None  # type: ignore[union-attr]
        ]
        assert len(self.timers.keys() - self.retries) == len(bounded)

    def teardown(self) -> None:
        """From wherever it is, if all goes well from now on, it settles; and it can always be shut down."""
        if not hasattr(self, "machine"):
            return
        self.now += 100  # the window is empty
        self.settle()
        if not self.is_over:
            assert self.is_up
            assert not any(row.child == "restarting" for row in self.machine.which_children())
            self.is_ending = True
            self.send(ev.Shutdown(SHUTDOWN))
            self.settle()
        assert self.is_over

    def settle(self) -> None:
        for _ in range(200):
            if self.asked:
                child_id = min(self.asked)
                del self.asked[child_id]
                if child_id in self.live:
                    self.send(ev.ChildExited(child_id, self.live.pop(child_id), SHUTDOWN))
                else:
                    self.starting.remove(child_id)
                    self.send(ev.ChildStartFailed(child_id, ABORTED))
            elif self.starting:
                child_id = min(self.starting)
                self.starting.remove(child_id)
                self.serial += 1
                self.live[child_id] = self.serial
                self.send(ev.ChildStarted(child_id, self.serial))
            elif self.timers:
                token = min(self.timers)
                self.now = max(self.now, self.timers.pop(token)) + 6
                self.send(ev.TimerFired(token), retry=token in self.retries)
            else:
                return
        raise AssertionError("it does not settle")


Supervised.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestSupervised = Supervised.TestCase
