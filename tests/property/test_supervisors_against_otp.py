"""Random specs, crashes, failed starts, operators and time: the machines do what the model of OTP's rules does.

The driver here answers each Start and Stop at once, as OTP's supervisor waits for each; so both take the same
steps in the same order. What the machine does with events that come in between has tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bitnexus.actors.runtime.reasons import NORMAL, SHUTDOWN, ExitReason, exited, killed, shutdown
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic import DynamicMachine
from bitnexus.supervision.dynamic_flags import Budget, DynamicFlags
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags
from tests.property import otp_model
from tests.property.otp_model import QUARANTINED, RESTARTING, UP, World
from tests.property.profiles import CHOSEN

IDS = [f"c{number}" for number in range(5)]
RESTARTS = st.sampled_from(["permanent", "permanent", "transient", "temporary"])
SHUTDOWNS = st.sampled_from([5000, "brutal_kill", "infinity"])
REASONS = st.sampled_from([NORMAL, SHUTDOWN, shutdown("done"), killed(9), killed(11), exited(1)])
OUTCOMES = st.lists(st.sampled_from(["up", "up", "up", "fail", "fail", "ignore"]), max_size=6)
START = ProcessStart("some.module:Class")


class Driver:
    """Tells a real machine one event and everything that follows from it, until it waits for a timer at most."""

    def __init__(self, handle: Callable[[object, float], list[ev.Effect]]) -> None:
        self.handle = handle
        self.pids: dict[str, int] = {}
        self.serial = 0
        self.timers: dict[int, str | None] = {}  # token -> the child that waits for it
        self.answer: str | None = None
        self.exit: str | None = None

    def tell(self, event: object, now: float, world: World) -> None:  # noqa: C901  # one case an effect
        queue = [event]
        while queue:
            waiting: str | None = None
            for effect in self.handle(queue.pop(0), now):
                match effect:
                    case ev.Start(child, _):
                        queue.append(self._started(child, world.start(child)))
                    case ev.Stop(child, pid, how):
                        assert pid == self.pids.pop(child)
                        world.stop(child)
                        queue.append(ev.ChildExited(child, pid, SHUTDOWN if how == "shutdown" else killed(9)))
                    case ev.SetTimer(token, _):
                        self.timers[token] = waiting
                    case ev.CancelTimer(token):
                        del self.timers[token]
                    case ev.Answer(_, ev.Error(code)):
                        self.answer = code
                    case ev.Answer():
                        self.answer = "ok"
                    case ev.Exit(reason):
                        self.exit = "shutdown" if reason == SHUTDOWN else " ".join(reason.parts[:1])
                    case ev.Report(kind, child):
                        assert kind != "unexpected", effect
                        waiting = child

    def _started(self, child: str, outcome: str) -> object:
        if outcome == "fail":
            return ev.ChildStartFailed(child, exited(1))
        if outcome == "ignore":
            return ev.ChildIgnored(child)
        self.serial += 1
        self.pids[child] = self.serial
        return ev.ChildStarted(child, self.serial)

    def take_timer(self, child: str) -> ev.TimerFired:
        (token,) = (token for token, waiting in self.timers.items() if waiting == child)
        del self.timers[token]
        return ev.TimerFired(token)


class Compared(RuleBasedStateMachine):
    """What static and dynamic supervisors have in common."""

    model: otp_model.StaticModel | otp_model.DynamicModel
    machine: SupervisorMachine | DynamicMachine
    driver: Driver
    ready = False
    now = 100.0

    def both(self, event: object, model: Callable[[World], str | None], outcomes: list[str]) -> None:
        """The event goes to the machine, the call to the model; both must do and answer the same."""
        real, expected = World(list(outcomes)), World(list(outcomes))
        self.driver.answer = None
        answer = model(expected)
        self.driver.tell(event, self.now, real)
        assert self.traces(real) == self.traces(expected)
        assert self.driver.answer == answer

    def traces(self, world: World) -> object:
        return world.trace

    def having(self, *states: str) -> list[str]:
        return [child for child, state in self.model.rows().items() if state in states]

    @rule(after_s=st.sampled_from([0.5, 2.5, 5.0, 5.5]))
    def time_passes(self, after_s: float) -> None:
        self.now += after_s

    @precondition(lambda self: self.ready and self.having(UP))
    @rule(data=st.data(), reason=REASONS, outcomes=OUTCOMES)
    def a_child_exits(self, data: st.DataObject, reason: ExitReason, outcomes: list[str]) -> None:
        child = data.draw(st.sampled_from(self.having(UP)))
        event = ev.ChildExited(child, self.driver.pids.pop(child), reason)
        normal = reason.kind in ("normal", "shutdown")
        self.both(event, lambda w: self.model.exited(child, normal=normal, now=self.now, world=w), outcomes)

    @precondition(lambda self: self.ready and self.having(RESTARTING))
    @rule(data=st.data(), outcomes=OUTCOMES)
    def a_restart_is_tried_again(self, data: st.DataObject, outcomes: list[str]) -> None:
        child = data.draw(st.sampled_from(self.having(RESTARTING)))
        self.both(self.driver.take_timer(child), lambda w: self.model.try_again(child, self.now, w), outcomes)

    @precondition(lambda self: self.ready)
    @rule(child=st.sampled_from(IDS))
    def terminate_child(self, child: str) -> None:
        self.both(ev.TerminateChild(child, "op"), lambda w: self.model.terminate_child(child, w), [])

    @precondition(lambda self: self.ready and self.driver.serial > 12)
    @rule()
    def shutdown(self) -> None:
        self.both(ev.Shutdown(SHUTDOWN), self.model.shutdown, [])

    @invariant()
    def both_know_the_same_children(self) -> None:
        if not hasattr(self, "driver"):
            return
        assert self.driver.exit == (self.model.exit and self.model.exit.removeprefix("failed_to_start_child "))
        self.ready = self.model.exit is None
        if not self.ready:
            assert self.driver.pids == {}
            return
        rows = {row.id: row.child for row in self.machine.which_children()}
        expected = {
            child: self.driver.pids[child] if state == UP else None if state == "down" else state
            for child, state in self.model.rows().items()
        }
        assert rows == expected
        assert sorted(child for child in self.driver.timers.values() if child) == sorted(
            self.having(RESTARTING, QUARANTINED)
        )
        counts = self.machine.count_children()
        assert (counts.specs, counts.active, counts.workers) == (len(expected), len(self.having(UP)), len(expected))


class Static(Compared):
    model: otp_model.StaticModel

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        intensity=st.integers(0, 6),
        auto_shutdown=st.sampled_from(["never", "never", "any_significant", "all_significant"]),
        children=st.lists(st.tuples(RESTARTS, SHUTDOWNS, st.booleans()), max_size=5),
        outcomes=st.one_of(st.just([]), OUTCOMES),
    )
    def begin(
        self,
        strategy: str,
        intensity: int,
        auto_shutdown: str,
        children: list[tuple[str, object, bool]],
        outcomes: list[str],
    ) -> None:
        self.may_be_significant = auto_shutdown != "never"
        specs = [self.spec(child, *fields) for child, fields in zip(IDS, children, strict=False)]
        flags = SupervisorFlags(strategy, intensity, 5, auto_shutdown)  # type: ignore[arg-type]
        self.machine = machine = SupervisorMachine(flags, specs)
        self.driver = Driver(machine.handle)  # type: ignore[arg-type]
        self.model = otp_model.StaticModel(
            strategy, otp_model.Intensity(intensity, 5), auto_shutdown, [self.child(spec) for spec in specs]
        )
        self.both(ev.Begin(), self.model.boot, outcomes)

    def spec(self, child: str, restart: str, shutdown_time: object, significant: bool) -> ChildSpec:
        significant = significant and self.may_be_significant and restart != "permanent"
        return ChildSpec(child, START, restart=restart, shutdown=shutdown_time, significant=significant)  # type: ignore[arg-type]

    def child(self, spec: ChildSpec) -> otp_model.Child:
        return otp_model.Child(spec.id, spec.restart, spec.significant)

    @precondition(lambda self: self.ready)
    @rule(child=st.sampled_from(IDS), fields=st.tuples(RESTARTS, SHUTDOWNS, st.booleans()), outcomes=OUTCOMES)
    def start_child(self, child: str, fields: tuple[str, object, bool], outcomes: list[str]) -> None:
        spec = self.spec(child, *fields)
        self.both(ev.StartChild(spec, "op"), lambda w: self.model.start_child(self.child(spec), w), outcomes)

    @precondition(lambda self: self.ready)
    @rule(child=st.sampled_from(IDS), outcomes=OUTCOMES)
    def restart_child(self, child: str, outcomes: list[str]) -> None:
        self.both(ev.RestartChild(child, "op"), lambda w: self.model.restart_child(child, w), outcomes)

    @precondition(lambda self: self.ready)
    @rule(child=st.sampled_from(IDS))
    def delete_child(self, child: str) -> None:
        self.both(ev.DeleteChild(child, "op"), lambda _: self.model.delete_child(child), [])


class Dynamic(Compared):
    model: otp_model.DynamicModel
    machine: DynamicMachine

    @initialize(
        restart=RESTARTS,
        shutdown_time=SHUTDOWNS,
        intensity=st.integers(0, 6),
        max_children=st.sampled_from([None, None, 0, 2]),
        budget=st.one_of(st.none(), st.integers(0, 3)),
    )
    def begin(
        self, restart: str, shutdown_time: object, intensity: int, max_children: int | None, budget: int | None
    ) -> None:
        flags = DynamicFlags(max_children, intensity, 5, None if budget is None else Budget(budget, 5, 30))
        template = ChildSpec("template", START, restart=restart, shutdown=shutdown_time)  # type: ignore[arg-type]
        self.machine = DynamicMachine(flags, template)
        self.driver = Driver(self.machine.handle)  # type: ignore[arg-type]
        self.model = otp_model.DynamicModel(
            restart, otp_model.Intensity(intensity, 5), max_children, None if budget is None else (budget, 5)
        )

    def traces(self, world: World) -> object:
        # All are stopped at the same time: in which order they are told does not matter.
        return sorted(world.trace)

    @precondition(lambda self: self.ready)
    @rule(child=st.sampled_from(IDS), outcomes=OUTCOMES)
    def start_child(self, child: str, outcomes: list[str]) -> None:
        self.both(ev.StartDynamicChild(child, "op"), lambda w: self.model.start_child(child, w), outcomes)

    @precondition(lambda self: self.ready)
    @rule(child=st.sampled_from(IDS), outcomes=OUTCOMES)
    def release_child(self, child: str, outcomes: list[str]) -> None:
        self.both(ev.ReleaseChild(child, "op"), lambda w: self.model.release_child(child, w), outcomes)

    @precondition(lambda self: self.ready and self.having(QUARANTINED))
    @rule(data=st.data(), outcomes=OUTCOMES)
    def a_quarantine_ends(self, data: st.DataObject, outcomes: list[str]) -> None:
        child = data.draw(st.sampled_from(self.having(QUARANTINED)))
        self.both(self.driver.take_timer(child), lambda w: self.model.released(child, w), outcomes)


Static.TestCase.settings = CHOSEN
Dynamic.TestCase.settings = CHOSEN
TestStatic = Static.TestCase
TestDynamic = Dynamic.TestCase
