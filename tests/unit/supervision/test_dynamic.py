"""The dynamic supervisor: children at any time, budgets and quarantine, the end of all at once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bitnexus.actors.runtime.reasons import ABORTED, HUNG, MAX_RSS, NORMAL, SHUTDOWN, exited, killed
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic import DynamicMachine
from bitnexus.supervision.dynamic_flags import Budget, DynamicFlags
from bitnexus.supervision.group_stop import STOP_SLICE
from bitnexus.supervision.spec import Backoff, SpecError
from tests.unit.supervision.scripted import CRASH, ScriptedDynamic, spec

DIED = f"({CRASH}) restart"


# -- start_child -----------------------------------------------------------------------------------------------------


def test_a_child_starts_at_any_time_and_the_caller_hears_when_it_is_up() -> None:
    sup = ScriptedDynamic()
    assert sup.start_child("a") == ["start a"]
    assert sup.states == {"a": "restarting"}
    assert sup.started("a") == ["answer op: ok a#1"]
    assert sup.states == {"a": "a#1"}


def test_children_start_beside_each_other_and_not_one_after_another() -> None:
    sup = ScriptedDynamic()
    assert [sup.start_child(child) for child in "abc"] == [["start a"], ["start b"], ["start c"]]
    assert [sup.started(child)[0] for child in "bca"] == [f"answer op: ok {pid}" for pid in ("b#1", "c#2", "a#3")]


def test_an_id_that_is_taken_is_refused() -> None:
    sup = ScriptedDynamic().with_children("a")
    assert sup.start_child("a") == ["answer op: already_started a#1"]
    sup.start_child("b")
    assert sup.start_child("b") == ["answer op: already_present None"]


def test_one_more_than_max_children_is_refused_and_a_place_that_gets_free_is_given_again() -> None:
    sup = ScriptedDynamic(max_children=2).with_children("a", "b")
    assert sup.start_child("c") == ["answer op: max_children None"]
    sup.exited("a")  # it restarts: its place is not free
    assert sup.start_child("c") == ["answer op: max_children None"]
    sup.terminate_child("b")
    sup.exited("b", SHUTDOWN)
    assert sup.start_child("c") == ["start c"]


def test_a_start_that_fails_or_is_ignored_leaves_no_trace() -> None:
    sup = ScriptedDynamic()
    sup.start_child("a")
    assert sup.failed("a") == [f"answer op: start_failed {CRASH}"]
    sup.start_child("b")
    assert sup.ignored("b") == ["answer op: ok None"]
    assert sup.states == {}
    assert sup.machine.restarts_used(sup.now) == 0


def test_a_child_may_have_a_spec_of_its_own() -> None:
    sup = ScriptedDynamic(spec("worker"))
    own = spec("boss", type="supervisor", restart="temporary")
    sup.start_child("a", own)
    sup.started("a")
    sup.with_children("b")
    assert sup.machine.get_childspec("a") == spec("a", type="supervisor", restart="temporary")
    assert sup.machine.get_childspec("b") == spec("b")
    assert sup.machine.get_childspec("c") == ev.Error("not_found")
    assert sup.machine.count_children() == ev.ChildCounts(specs=2, active=2, supervisors=1, workers=1)


def test_a_child_that_is_up_at_once_takes_one_step() -> None:
    sup = ScriptedDynamic(max_children=2)
    assert sup.machine.adopt("a", "a#1") is None
    assert sup.machine.adopt("a", "a#2") == ev.Error("already_started", "a#1")
    assert sup.machine.adopt("b", "b#1") is None
    assert sup.machine.adopt("c", "c#1") == ev.Error("max_children")
    assert sup.send(ev.ChildExited("a", "a#1", CRASH))[-1] == "start a"


# -- exits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("restart", "after_normal", "after_crash"), [
    ("permanent", "start a", "start a"), ("transient", None, "start a"), ("temporary", None, None),
])  # fmt: skip
def test_the_restart_type_decides_and_a_child_that_is_not_restarted_is_forgotten(
    restart: Any, after_normal: str | None, after_crash: str | None
) -> None:
    for reason, follows in ((NORMAL, after_normal), (CRASH, after_crash)):
        sup = ScriptedDynamic(spec("t", restart=restart)).with_children("a", "b")
        effects = sup.exited("a", reason)
        assert (effects[-1:] == [follows]) if follows else ("start a" not in effects and "a" not in sup.states)
        assert sup.states["b"] == "b#2"


def test_a_failed_restart_is_tried_again_and_an_ignored_one_ends_the_child() -> None:
    sup = ScriptedDynamic().with_children("a")
    sup.exited("a")
    assert sup.failed("a") == [f"report start_error a ({CRASH}) restart"]
    assert sup.timers == [0.0]
    assert sup.timer() == ["start a"]
    assert sup.ignored("a") == []
    assert sup.states == {}


def test_without_budgets_all_children_share_the_supervisors_intensity() -> None:
    sup = ScriptedDynamic(intensity=2).with_children("a", "b", "c")
    sup.exited("a")
    sup.started("a")
    sup.exited("b")
    sup.started("b")
    assert sup.exited("c")[1:] == [
        "report shutdown c (shutdown) reached_max_restart_intensity", "shutdown a#4", "shutdown b#5",
    ]  # fmt: skip
    assert sup.exited("a", SHUTDOWN) == []
    assert sup.exited("b", SHUTDOWN) == ["exit (shutdown)"]


def test_terminate_child_stops_and_forgets() -> None:
    sup = ScriptedDynamic().with_children("a")
    assert sup.terminate_child("a") == ["shutdown a#1"]
    assert sup.timers == [5.0]
    assert sup.terminate_child("a") == []
    assert sup.timers == []  # of the second call
    assert sup.states == {"a": "a#1"}
    assert sup.exited("a", SHUTDOWN) == ["answer op: ok None"] * 2


def test_terminate_child_kills_after_its_time() -> None:
    sup = ScriptedDynamic().with_children("a")
    sup.terminate_child("a")
    assert sup.timer() == ["kill a#1"]
    assert sup.exited("a", killed(9)) == [
        "report shutdown_error a (killed by signal 9 (SIGKILL)) kill", "answer op: ok None",
    ]  # fmt: skip
    assert sup.states == {}
    assert sup.terminate_child("a") == ["answer op: not_found None"]


def test_terminate_child_cancels_a_restart() -> None:
    sup = ScriptedDynamic().with_children("a")
    sup.exited("a")
    sup.failed("a")
    assert sup.terminate_child("a") == ["answer op: ok None"]
    assert sup.timers_cancelled == 1
    assert sup.states == {}


def test_terminate_child_gives_a_start_up() -> None:
    sup = ScriptedDynamic()
    sup.start_child("a")
    assert sup.send(ev.TerminateChild("a", 2)) == ["shutdown a (starting)"]
    assert sup.failed("a", ABORTED) == ["answer op: terminated None", "answer 2: ok None"]


# -- budgets and quarantine ------------------------------------------------------------------------------------------

BUDGET = Budget(restarts=2, period_s=5, quarantine_s=30)


def crashing(sup: ScriptedDynamic, child_id: str, times: int) -> list[str]:
    effects: list[str] = []
    for _ in range(times):
        effects = sup.exited(child_id)
        if effects[-1] == f"start {child_id}":
            sup.started(child_id)
    return effects


def test_a_child_over_its_own_budget_is_set_aside_and_everybody_else_goes_on() -> None:
    sup = ScriptedDynamic(budget=BUDGET, intensity=0).with_children("a", "b")
    assert crashing(sup, "a", 3) == [f"report child_terminated a {DIED}", "report quarantined a (None) 30 s"]
    assert sup.timers == [30.0]
    assert sup.states == {"a": "quarantined", "b": "b#2"}
    assert sup.machine.quarantined() == ["a"]
    assert sup.exited("b")[-1] == "start b"


def test_each_child_has_its_own_budget() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children(*"abcdef")
    for _ in range(2):
        for child in "abcdef":
            assert crashing(sup, child, 1)[-1] == f"start {child}"
    assert sup.machine.quarantined() == []


def test_crashes_slower_than_the_budget_never_lead_to_quarantine() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children("a")
    for _ in range(100):
        sup.now += 2.6
        assert crashing(sup, "a", 1)[-1] == "start a"


def test_a_quarantined_child_comes_back_after_its_time_with_its_whole_budget() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children("a")
    crashing(sup, "a", 3)
    sup.now += 30
    assert sup.timer() == ["report released a (None) timer", "start a"]
    sup.started("a")
    assert crashing(sup, "a", 2)[-1] == "start a"
    assert crashing(sup, "a", 1)[-1] == "report quarantined a (None) 30 s"


def test_an_operator_releases_a_quarantined_child() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children("a", "b")
    assert sup.release_child("a") == ["answer op: not_quarantined None"]
    assert sup.release_child("z") == ["answer op: not_found None"]
    crashing(sup, "a", 3)
    assert sup.release_child("a") == ["answer op: ok None", "report released a (None) operator", "start a"]
    assert sup.timers_cancelled == 1


def test_a_quarantined_child_can_be_terminated_but_not_started() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children("a")
    crashing(sup, "a", 3)
    sup.now += 10
    assert sup.start_child("a") == ["answer op: quarantined 20.0"]
    assert sup.terminate_child("a") == ["answer op: ok None"]
    assert sup.start_child("a") == ["start a"]


def test_a_failed_restart_counts_against_the_childs_budget() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children("a")
    sup.exited("a")
    sup.failed("a")
    sup.timer()
    sup.failed("a")
    assert sup.timer() == ["report quarantined a (None) 30 s"]


def test_a_child_waits_longer_after_each_failure_and_begins_anew_after_a_success_that_is_long_enough() -> None:
    backoff = Backoff(first_s=1, factor=2, ceiling_s=5, jitter=0.5, reset_after_s=60)
    sup = ScriptedDynamic(spec("t", backoff=backoff), intensity=100).with_children("a")
    waits = []
    for _ in range(4):
        sup.exited("a")
        waits += sup.timers
        sup.now += sup.timers[0]
        assert sup.timer() == ["start a"]
        sup.started("a")
    assert waits == [1, 2, 4, 5]
    sup.now += 60
    sup.chance = 0.5
    sup.exited("a")
    assert sup.timers == [0.75]
    assert sup.states == {"a": "restarting"}


def test_nothing_is_remembered_of_children_whose_failures_no_longer_count() -> None:
    machine = DynamicMachine(DynamicFlags(budget=BUDGET), spec("t"))
    for number in range(1000):
        machine.adopt(str(number), number)
        machine.handle(ev.ChildExited(str(number), number, CRASH), number * 1.0)
        machine.handle(ev.ChildStarted(str(number), -number), number * 1.0)
    assert len(machine._records) <= BUDGET.period_s + 1
    assert len(machine) == 1000


def test_a_restart_long_after_the_failure_counts_from_the_restart() -> None:
    sup = ScriptedDynamic(budget=Budget(restarts=1, period_s=5)).with_children("a")
    sup.exited("a")
    sup.failed("a")
    sup.now += 5.5
    sup.timer()
    sup.started("a")
    assert sup.exited("a")[-1].startswith("report quarantined a")


# -- children on demand ----------------------------------------------------------------------------------------------


def on_demand() -> ScriptedDynamic:
    return ScriptedDynamic(budget=BUDGET, on_demand=True)


def test_of_children_on_demand_only_those_that_crashed_lately_are_known() -> None:
    sup = on_demand()
    assert sup.machine.refusal("a", sup.now) is None
    assert sup.send(ev.ChildExited("a", "a", CRASH)) == [f"report child_terminated a {DIED}", "start a"]
    assert len(sup.machine) == 0
    assert sup.machine.refusal("a", sup.now) is None


def test_a_child_on_demand_is_refused_while_it_is_quarantined_and_welcome_again_afterwards() -> None:
    sup = on_demand()
    for _ in range(3):
        sup.send(ev.ChildExited("a", "a", CRASH))
    assert sup.machine.quarantined() == ["a"]
    sup.now += 12
    assert sup.machine.refusal("a", sup.now) == 18
    assert sup.machine.refusal("b", sup.now) is None
    sup.now += 18
    assert sup.timer() == ["report released a (None) timer", "start a"]
    assert sup.machine.refusal("a", sup.now) is None
    assert len(sup.machine) == 0
    assert len(sup.machine.history.of("a")) == 3


# -- hung, too large -------------------------------------------------------------------------------------------------


def test_a_hung_child_is_killed_and_restarted_with_that_reason() -> None:
    sup = ScriptedDynamic().with_children("a")
    assert sup.send(ev.ChildHung("a", "a#1")) == ["report replaced a (hung) kill", "kill a#1"]
    assert sup.exited("a", killed(9)) == ["report child_terminated a (hung) restart", "start a"]
    assert sup.machine.history.of("a")[-1].reason == HUNG


def test_a_child_that_grew_too_large_is_asked_to_stop_and_restarted() -> None:
    sup = ScriptedDynamic().with_children("a")
    assert sup.send(ev.ChildTooLarge("a", "a#1")) == ["report replaced a (max_rss) shutdown", "shutdown a#1"]
    assert sup.exited("a", SHUTDOWN)[-1] == "start a"
    assert sup.machine.history.of("a")[-1].reason == MAX_RSS


# -- the end ---------------------------------------------------------------------------------------------------------


def test_all_children_are_stopped_at_once_under_one_timer() -> None:
    sup = ScriptedDynamic().with_children("a", "b", "c")
    assert sup.shutdown() == ["shutdown a#1", "shutdown b#2", "shutdown c#3"]
    assert sup.timers == [5.0]
    assert sup.exited("b", SHUTDOWN) == []
    assert sup.exited("a", exited(3)) == ["report shutdown_error a (exit code 3) shutdown"]
    assert sup.exited("c", SHUTDOWN) == ["exit (shutdown)"]
    assert sup.timers_cancelled == 1


def test_those_that_have_not_stopped_in_time_are_killed() -> None:
    sup = ScriptedDynamic().with_children("a", "b")
    sup.shutdown()
    (token,) = (effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    sup.exited("a", SHUTDOWN)
    assert sup.send(ev.TimerFired(token)) == ["kill b#2"]
    assert sup.exited("b", killed(9))[-1] == "exit (shutdown)"


def test_each_length_of_shutdown_time_has_its_own_timer() -> None:
    sup = ScriptedDynamic().with_children("a")
    for child_id, shutdown in (("b", 100), ("c", "brutal_kill"), ("d", "infinity")):
        sup.start_child(child_id, spec("other", shutdown=shutdown))
        sup.started(child_id)
    assert sup.shutdown() == ["shutdown a#1", "shutdown b#2", "kill c#3", "shutdown d#4"]
    assert sup.timers == [0.1, 5.0]
    first = next(effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    assert sup.send(ev.TimerFired(first)) == ["kill b#2"]


def test_the_end_forgets_who_waits_and_gives_up_who_starts() -> None:
    sup = ScriptedDynamic(budget=BUDGET).with_children("a", "b")
    crashing(sup, "a", 3)
    sup.exited("b")
    sup.failed("b")
    sup.start_child("c")
    assert sup.shutdown() == ["shutdown c (starting)"]
    assert sup.failed("c", ABORTED) == ["answer op: shutdown None", "exit (shutdown)"]
    assert sup.start_child("d") == ["answer op: noproc None"]


def test_an_operators_terminate_while_all_are_stopped_is_answered() -> None:
    sup = ScriptedDynamic().with_children("a", "b")
    sup.shutdown()
    sup.terminate_child("a")
    assert sup.exited("b", SHUTDOWN) == []
    assert sup.exited("a", SHUTDOWN) == ["answer op: ok None", "exit (shutdown)"]


def test_a_supervisor_without_children_ends_at_once() -> None:
    assert ScriptedDynamic().shutdown() == ["exit (shutdown)"]


def test_stops_are_given_in_slices() -> None:
    sup = ScriptedDynamic()
    for number in range(STOP_SLICE + 1):
        sup.machine.adopt(str(number), number)
    assert len(sup.shutdown()) == STOP_SLICE
    assert sorted(sup.timers) == [0.0, 5.0]
    slice_token = next(e.token for e in sup.effects if isinstance(e, ev.SetTimer) and e.after_s == 0)
    assert sup.send(ev.TimerFired(slice_token)) == [f"shutdown {STOP_SLICE}"]


def test_mass_exit_scales_linearly() -> None:
    """Ten times as many children must not take fifty times as long (OTP's own bound, and its numbers)."""

    def seconds(count: int) -> float:
        machine = DynamicMachine(DynamicFlags(), spec("t", restart="temporary"))
        for number in range(count):
            assert machine.adopt(str(number), number) is None
        begun = time.process_time()
        for number in range(count):
            machine.handle(ev.TerminateChild(str(number), number), 0.0)
            machine.handle(ev.ChildExited(str(number), number, SHUTDOWN), 0.0)
        assert len(machine) == 0
        return time.process_time() - begun

    assert seconds(10_000) / max(seconds(1_000), 0.001) < 50


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (lambda: DynamicFlags(max_children=-1), "invalid_max_children"),
        (lambda: DynamicFlags(intensity=-1), "invalid_intensity"),
        (lambda: DynamicFlags(period_s=0), "invalid_period"),
        (lambda: DynamicFlags(budget=3), "invalid_budget"),  # type: ignore[arg-type]
        (lambda: Budget(restarts=-1), "invalid_budget"),
        (lambda: Budget(quarantine_s=0), "invalid_budget"),
    ],
)
def test_wrong_flags_are_named(flags: Any, reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        flags()
    assert caught.value.reason == reason
