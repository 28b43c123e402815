"""The cases by which OTP tests its own supervisor, with its numbers, on the machines here.

Each test's name begins with the name of the case in OTP's supervisor_SUITE. The cases are known from there; the tests
are our own. Cases about code change, global names, tuples and maps as specs have no counterpart here.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bitnexus.actors.runtime.reasons import NORMAL, SHUTDOWN, exited, killed, shutdown
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic import DynamicMachine
from bitnexus.supervision.dynamic_flags import DynamicFlags
from bitnexus.supervision.events import ChildCounts
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.spec import ChildSpec, ProcessStart, Restart, SpecError, SupervisorFlags
from tests.unit.supervision.scripted import Scripted, ScriptedDynamic, spec

ABNORMAL = exited(1)
SHUTDOWN_TERM = shutdown("some_info")
HOUR = 3600


def worker(child_id: str = "child1", **fields: object) -> ChildSpec:
    return spec(child_id, **{"shutdown": 1000, **fields})


def up(*children: ChildSpec, intensity: int = 2, period_s: float = HOUR, **flags: object) -> Scripted:
    return Scripted(*children, intensity=intensity, period_s=period_s, **flags).up()


def empty(**flags: object) -> Scripted:
    return up(**flags)  # type: ignore[arg-type]


def dynamic(intensity: int = 2, **fields: object) -> ScriptedDynamic:
    return ScriptedDynamic(worker("template", **fields), intensity=intensity, period_s=HOUR)


def add(sup: Scripted, child: ChildSpec) -> None:
    sup.start_child(child)
    sup.started(child.id)


def crash(sup: Scripted, child_id: str, *, restarts: bool = True) -> list[str]:
    effects = sup.exited(child_id, ABNORMAL)
    if restarts:
        assert effects[-1] == f"start {child_id}", effects
        sup.started(child_id)
    return effects


def stop_in_turn(sup: Scripted, effects: list[str]) -> list[str]:
    """Every child that is asked to stop does; which, in order."""
    order = []
    while effects and effects[-1].startswith(("shutdown ", "kill ")):
        pid = effects[-1].split()[1]
        order.append(pid.partition("#")[0])
        effects = sup.exited(order[-1], SHUTDOWN)
    assert effects[-1].startswith("exit"), effects
    return order


def counts(sup: Scripted) -> tuple[int, int, int, int]:
    found: ChildCounts = sup.machine.count_children()
    return (found.specs, found.active, found.supervisors, found.workers)


# -- start -----------------------------------------------------------------------------------------------------------


def test_sup_start_normal_without_children_starts_and_ends() -> None:
    sup = empty()
    assert sup.shutdown() == ["exit (shutdown)"]


def test_sup_start_ignore_child_is_kept_and_counted_but_not_active() -> None:
    sup = empty()
    sup.start_child(worker("child1"))
    assert sup.ignored("child1") == ["answer op: ok None"]
    add(sup, worker("child2"))
    assert [row.id for row in sup.machine.which_children()] == ["child2", "child1"]
    assert sup.states["child1"] is None
    assert counts(sup) == (2, 1, 0, 2)


def test_sup_start_ignore_temporary_child_in_the_first_start_is_not_kept() -> None:
    sup = Scripted(worker("child1", restart="temporary"), worker("child2", restart="temporary"))
    sup.send(ev.Begin())
    sup.ignored("child1")
    assert sup.started("child2") == ["running"]
    assert counts(sup) == (1, 1, 0, 1)


def test_sup_start_ignore_temporary_child_start_child_is_not_kept() -> None:
    sup = empty()
    sup.start_child(worker("child1", restart="temporary"))
    sup.ignored("child1")
    add(sup, worker("child2", restart="temporary"))
    assert list(sup.states) == ["child2"]
    assert counts(sup) == (1, 1, 0, 1)


@pytest.mark.parametrize("restart", ["temporary", "permanent"])
def test_sup_start_ignore_child_start_child_simple_is_not_kept(restart: Restart) -> None:
    sup = dynamic(restart=restart)
    sup.start_child("child1")
    assert sup.ignored("child1") == ["answer op: ok None"]
    sup.with_children("child2")
    assert list(sup.states) == ["child2"]
    sup.shutdown()
    assert sup.exited("child2", SHUTDOWN) == ["exit (shutdown)"]


def test_sup_start_fail_rolls_back_and_names_the_child() -> None:
    sup = Scripted(worker("child1"), worker("child2"))
    sup.send(ev.Begin())
    sup.started("child1")
    assert sup.failed("child2", ABNORMAL)[-1] == "shutdown child1#1"
    assert sup.exited("child1", SHUTDOWN) == ["exit (failed to start child 'child2': exit code 1)"]


def test_sup_start_map_gives_the_defaults() -> None:
    sup = Scripted(spec("child1"), spec("child2", shutdown="brutal_kill"), spec("child3", type="supervisor")).up()
    found = [sup.machine.get_childspec(child) for child in ("child1", "child2", "child3")]
    assert [(one.restart, one.shutdown, one.type) for one in found if isinstance(one, ChildSpec)] == [
        ("permanent", 5000, "worker"), ("permanent", "brutal_kill", "worker"), ("permanent", "infinity", "supervisor"),
    ]  # fmt: skip
    assert sup.machine.get_childspec("child4") == ev.Error("not_found")


# -- stop ------------------------------------------------------------------------------------------------------------


def test_sup_stop_infinity_is_allowed_for_workers_and_supervisors() -> None:
    sup = up(worker("child1", shutdown="infinity", type="supervisor"), worker("child2", shutdown="infinity"))
    effects = sup.shutdown()
    assert sup.timers == []
    assert stop_in_turn(sup, effects) == ["child2", "child1"]


def test_sup_stop_timeout_kills_the_one_that_sleeps_and_asks_the_other() -> None:
    sup = up(worker("child1"), worker("child2"))
    assert sup.shutdown() == ["shutdown child2#2"]
    assert sup.timers == [1.0]
    assert sup.timer() == ["kill child2#2"]
    assert sup.exited("child2", killed(9))[-1] == "shutdown child1#1"
    assert sup.exited("child1", SHUTDOWN) == ["exit (shutdown)"]


def test_sup_stop_brutal_kill_does_not_ask() -> None:
    sup = up(worker("child1"), worker("child2", shutdown="brutal_kill"))
    assert sup.shutdown() == ["kill child2#2"]
    assert sup.exited("child2", killed(9)) == ["shutdown child1#1"]


def test_order_of_children_is_start_order_and_stop_is_its_reverse() -> None:
    names = [f"child{number}" for number in range(1, 6)]
    sup = up(*map(worker, names))
    assert list(sup.states.values()) == [f"{name}#{n}" for n, name in enumerate(names, 1)]
    assert stop_in_turn(sup, sup.shutdown()) == names[::-1]


# -- administration --------------------------------------------------------------------------------------------------


def test_child_adm() -> None:
    sup = up(worker())
    assert counts(sup) == (1, 1, 0, 1)
    sup.terminate_child("child1")
    assert sup.exited("child1", SHUTDOWN) == ["answer op: ok None"]
    assert sup.states == {"child1": None}
    assert counts(sup) == (1, 0, 0, 1)
    assert sup.terminate_child("child1") == ["answer op: ok None"]
    assert sup.start_child(worker()) == ["answer op: already_present None"]
    sup.restart_child("child1")
    sup.started("child1")
    assert sup.start_child(worker()) == ["answer op: already_started child1#2"]
    assert sup.restart_child("child1") == ["answer op: running None"]
    assert sup.delete_child("child1") == ["answer op: running None"]
    sup.terminate_child("child1")
    sup.exited("child1", SHUTDOWN)
    assert sup.delete_child("child1") == ["answer op: ok None"]
    for call in (sup.restart_child, sup.delete_child, sup.terminate_child):
        assert call("child1") == ["answer op: not_found None"]
    assert counts(sup) == (0, 0, 0, 0)


def test_child_adm_simple() -> None:
    sup = dynamic().with_children("a", "b", "c")
    assert counts(sup) == (3, 3, 0, 3)
    sup.terminate_child("b")
    sup.exited("b", SHUTDOWN)
    assert list(sup.states) == ["a", "c"]
    assert sup.terminate_child("b") == ["answer op: not_found None"]


@pytest.mark.parametrize(("fields", "reason"), [
    ({"restart": "prmanent"}, "invalid_restart_type"), ({"shutdown": -10}, "invalid_shutdown"),
    ({"type": "wrker"}, "invalid_child_type"), ({"start": None}, "missing_start"),
    ({"significant": "yes"}, "invalid_significant"), ({"significant": True}, "bad_combination"),
])  # fmt: skip
def test_child_specs_that_are_wrong_are_refused_with_their_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        ChildSpec(**{"id": "child", "start": ProcessStart("m:C"), **fields})
    assert caught.value.reason == reason


@pytest.mark.parametrize(("flags", "reason"), [
    ({"strategy": "none_for_one"}, "invalid_strategy"), ({"intensity": -1}, "invalid_intensity"),
    ({"period_s": 0}, "invalid_period"), ({"auto_shutdown": "sometimes"}, "invalid_auto_shutdown"),
])  # fmt: skip
def test_sup_flags_that_are_wrong_are_refused_with_their_reason(flags: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        SupervisorFlags(**flags)
    assert caught.value.reason == reason


# -- restart types ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "reason", "states"), [
    ("normal", NORMAL, {"permanent": True, "transient": False, "temporary": None}),
    ("shutdown", SHUTDOWN, {"permanent": True, "transient": False, "temporary": None}),
    ("shutdown_term", SHUTDOWN_TERM, {"permanent": True, "transient": False, "temporary": None}),
    ("abnormal", ABNORMAL, {"permanent": True, "transient": True, "temporary": None}),
    ("kill", killed(9), {"permanent": True, "transient": True, "temporary": None}),
])  # fmt: skip
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_permanent_transient_temporary_after_each_reason(
    restart: Restart, case: str, reason: Any, states: dict[Restart, bool | None]
) -> None:
    sup = empty()
    add(sup, worker(restart=restart))
    if sup.exited("child1", reason)[-1:] == ["start child1"]:
        sup.started("child1")
    is_kept_running = states[restart]
    assert sup.states == ({} if is_kept_running is None else {"child1": "child1#2" if is_kept_running else None})
    assert counts(sup) == {None: (0, 0, 0, 0), False: (1, 0, 0, 1), True: (1, 1, 0, 1)}[is_kept_running]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_temporary_bystander_is_stopped_and_never_restarted(strategy: str) -> None:
    sup = empty(period_s=300, strategy=strategy)
    add(sup, worker("child1", shutdown=100))
    add(sup, worker("child2", shutdown=100, restart="temporary"))
    assert sup.exited("child1", NORMAL)[-1] == "shutdown child2#2"
    assert sup.exited("child2", SHUTDOWN) == ["start child1"]
    assert sup.started("child1") == []
    assert list(sup.states) == ["child1"]


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize("how", [killed(9), NORMAL, ABNORMAL, "supervisor"], ids=str)
def test_do_not_save_child_specs_for_temporary_children(strategy: str, how: Any) -> None:
    sup = empty(strategy=strategy)
    add(sup, worker(restart="temporary"))
    if how == "supervisor":
        sup.terminate_child("child1")
        sup.exited("child1", SHUTDOWN)
    else:
        sup.exited("child1", how)
    assert sup.start_child(worker(restart="temporary")) == ["start child1"]


# -- intensity -------------------------------------------------------------------------------------------------------


def test_multiple_restarts_one_a_second_allowed_and_one_every_two_seconds_and_a_tenth() -> None:
    sup = empty(intensity=1, period_s=1)
    add(sup, worker(shutdown="brutal_kill"))
    crash(sup, "child1")
    for _ in range(3):
        sup.now += 2.1
        crash(sup, "child1")
    assert sup.terminate_child("child1") == ["kill child1#5"]
    assert sup.exited("child1", killed(9)) == ["answer op: ok None"]
    assert sup.delete_child("child1") == ["answer op: ok None"]


def test_one_for_one_restarts_the_one_and_the_third_restart_in_an_hour_is_too_many() -> None:
    sup = empty()
    add(sup, worker("child1"))
    add(sup, worker("child2"))
    crash(sup, "child1")
    assert sup.states["child2"] == "child2#2"
    assert counts(sup) == (2, 2, 0, 2)
    crash(sup, "child2")
    assert stop_in_turn(sup, crash(sup, "child2", restarts=False)) == ["child1"]


def test_one_for_one_escalation_after_four_failed_tries_the_supervisor_ends() -> None:
    sup = up(worker("child1"), worker("child2"), intensity=4)
    crash_effects = sup.exited("child1", ABNORMAL)
    for _ in range(4):
        assert crash_effects[-1] == "start child1"
        sup.failed("child1", ABNORMAL)
        crash_effects = sup.timer()
    assert stop_in_turn(sup, crash_effects) == ["child2"]


def test_one_for_all_restarts_all_and_the_third_sweep_in_an_hour_is_too_many() -> None:
    sup = up(worker("child1"), worker("child2"), strategy="one_for_all")
    for round_ in range(2):
        assert sup.exited("child1", ABNORMAL)[-1] == f"shutdown {sup.pids['child2']}"
        assert sup.exited("child2", SHUTDOWN) == ["start child1"]
        assert sup.started("child1") == ["start child2"]
        sup.started("child2")
        assert sup.machine.restarts_used(sup.now) == round_ + 1
        assert counts(sup) == (2, 2, 0, 2)
    assert sup.states == {"child1": "child1#5", "child2": "child2#6"}
    assert stop_in_turn(sup, sup.exited("child2", ABNORMAL)) == ["child1"]


def test_one_for_all_escalation_the_sibling_is_stopped_and_the_tries_run_out() -> None:
    sup = up(worker("child1"), worker("child2"), intensity=4, strategy="one_for_all")
    sup.exited("child1", ABNORMAL)
    effects = sup.exited("child2", SHUTDOWN)
    for _ in range(4):
        assert effects == ["start child1"]
        assert sup.started("child1") == ["start child2"]
        sup.failed("child2", ABNORMAL)
        effects = sup.timer()
        if effects[-1].startswith("shutdown child1"):
            effects = sup.exited("child1", SHUTDOWN)
    assert effects[-1] == "exit (shutdown)"


def test_one_for_all_other_child_fails_restart_the_restarted_one_is_terminated_again() -> None:
    sup = up(worker("child1"), worker("child2"), intensity=3, strategy="one_for_all")
    sup.exited("child1", ABNORMAL)
    sup.exited("child2", SHUTDOWN)
    sup.started("child1")
    sup.failed("child2", NORMAL)
    assert sup.timer() == ["shutdown child1#3"]
    assert sup.exited("child1", SHUTDOWN) == ["start child1"]
    assert sup.started("child1") == ["start child2"]
    assert sup.started("child2") == []


def test_rest_for_one_restarts_the_rest_and_the_third_sweep_in_an_hour_is_too_many() -> None:
    sup = up(worker("child1"), worker("child2"), worker("child3"), strategy="rest_for_one")
    assert sup.exited("child2", ABNORMAL)[-1] == "shutdown child3#3"
    assert sup.exited("child3", SHUTDOWN) == ["start child2"]
    assert sup.started("child2") == ["start child3"]
    sup.started("child3")
    assert sup.states == {"child1": "child1#1", "child2": "child2#4", "child3": "child3#5"}
    crash(sup, "child3")
    assert stop_in_turn(sup, sup.exited("child2", ABNORMAL)) == ["child3", "child1"]


def test_rest_for_one_escalation() -> None:
    sup = up(worker("child1"), worker("child2"), intensity=4, strategy="rest_for_one")
    sup.exited("child1", ABNORMAL)
    sup.exited("child2", SHUTDOWN)
    effects = sup.started("child1")
    for _ in range(4):
        assert effects == ["start child2"]
        sup.failed("child2", ABNORMAL)
        effects = sup.timer()
    assert stop_in_turn(sup, effects) == ["child1"]


def test_rest_for_one_other_child_fails_restart_the_restarted_one_stays() -> None:
    sup = up(worker("child1"), worker("child2"), intensity=3, strategy="rest_for_one")
    sup.exited("child1", ABNORMAL)
    sup.exited("child2", SHUTDOWN)
    sup.started("child1")
    sup.failed("child2", NORMAL)
    assert sup.timer() == ["start child2"]
    assert sup.started("child2") == []
    assert sup.states["child1"] == "child1#3"


def test_simple_one_for_one_restarts_the_one_and_the_third_restart_in_an_hour_is_too_many() -> None:
    sup = dynamic().with_children("a", "b")
    crash(sup, "a")
    assert sup.states["b"] == "b#2"
    crash(sup, "b")
    assert crash(sup, "b", restarts=False)[-1] == f"shutdown {sup.pids['a']}"
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown)"]


def test_simple_one_for_one_escalation() -> None:
    sup = dynamic(intensity=4).with_children("a", "b")
    effects = sup.exited("a", ABNORMAL)
    for _ in range(4):
        assert effects[-1] == "start a"
        sup.failed("a", ABNORMAL)
        effects = sup.timer()
    assert effects[-1] == "shutdown b#2"


def test_simple_one_for_one_shutdown_takes_the_longest_childs_time_and_not_the_sum() -> None:
    sup = dynamic(shutdown=2000).with_children("a", "b", "c")
    assert sup.shutdown() == ["shutdown a#1", "shutdown b#2", "shutdown c#3"]
    assert sup.timers == [2.0]
    (token,) = (effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    sup.exited("a", SHUTDOWN)
    sup.exited("b", SHUTDOWN)
    assert sup.send(ev.TimerFired(token)) == ["kill c#3"]
    assert sup.exited("c", killed(9))[-1] == "exit (shutdown)"


# -- hanging in the restart loop -------------------------------------------------------------------------------------


def hanging(sup: Scripted, child_id: str) -> int:
    """Its restart fails again and again; the token of the next try."""
    sup.exited(child_id, ABNORMAL)
    for _ in range(3):
        sup.failed(child_id, ABNORMAL)
        assert sup.timer() == [f"start {child_id}"]
    sup.failed(child_id, ABNORMAL)
    return next(effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))


def test_hanging_restart_loop_operators_are_answered_and_can_end_it() -> None:
    sup = empty(intensity=8, period_s=10)
    child = worker(shutdown="brutal_kill")
    add(sup, child)
    token = hanging(sup, "child1")
    assert sup.start_child(child) == ["answer op: already_present None"]
    assert sup.restart_child("child1") == ["answer op: restarting None"]
    assert sup.delete_child("child1") == ["answer op: restarting None"]
    assert sup.states == {"child1": "restarting"}
    assert counts(sup) == (1, 0, 0, 1)
    assert sup.terminate_child("child1") == ["answer op: ok None"]
    assert sup.states == {"child1": None}
    assert sup.send(ev.TimerFired(token)) == []
    sup.restart_child("child1")
    sup.started("child1")
    sup.now += 11
    hanging(sup, "child1")
    assert sup.shutdown() == ["exit (shutdown)"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_hanging_restart_loop_rest_for_one_and_one_for_all(strategy: str) -> None:
    children = [worker(name, shutdown="brutal_kill") for name in ("child1", "child2", "child3")]
    sup = up(*children, intensity=8, period_s=10, strategy=strategy)
    effects = sup.exited("child1", ABNORMAL)
    for name in ("child3", "child2"):
        assert effects[-1].startswith(f"kill {name}")
        effects = sup.exited(name, killed(9))
    assert effects == ["start child1"]
    sup.failed("child1", ABNORMAL)
    assert sup.states == {"child1": "restarting", "child2": None, "child3": None}
    assert counts(sup) == (3, 0, 0, 3)
    assert sup.terminate_child("child1") == ["answer op: ok None"]
    assert sup.states == {"child1": None, "child2": None, "child3": None}


def test_hanging_restart_loop_simple() -> None:
    sup = ScriptedDynamic(worker(shutdown="brutal_kill"), intensity=8, period_s=10).with_children("a")
    hanging(sup, "a")
    assert sup.states == {"a": "restarting"}
    assert counts(sup) == (1, 0, 0, 1)
    assert sup.terminate_child("a") == ["answer op: ok None"]
    assert sup.states == {}
    sup.now += 11
    sup.with_children("b")
    hanging(sup, "b")
    assert sup.shutdown() == ["exit (shutdown)"]


# -- significant children --------------------------------------------------------------------------------------------


def family(auto_shutdown: str, restart: Restart) -> Scripted:
    return up(
        *(worker(name, restart=restart, significant=name != "child3") for name in ("child1", "child2", "child3")),
        auto_shutdown=auto_shutdown,
    )


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_significant_any_the_first_normal_end_of_one_ends_all_in_reverse(restart: Restart) -> None:
    sup = family("any_significant", restart)
    assert stop_in_turn(sup, sup.exited("child1", NORMAL)) == ["child3", "child2"]


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_significant_all_only_the_last_normal_end_ends_the_rest(restart: Restart) -> None:
    sup = family("all_significant", restart)
    assert sup.exited("child2", NORMAL) == []
    assert stop_in_turn(sup, sup.exited("child1", NORMAL)) == ["child3"]


def test_significant_transient_abnormal_is_restarted_and_ends_nothing() -> None:
    sup = family("any_significant", "transient")
    crash(sup, "child1")
    assert counts(sup) == (3, 3, 0, 3)


def test_significant_temporary_abnormal_ends_the_supervisor() -> None:
    sup = family("any_significant", "temporary")
    assert stop_in_turn(sup, sup.exited("child1", ABNORMAL)) == ["child3", "child2"]


def test_significant_bystander_stopped_with_its_siblings_ends_nothing() -> None:
    sup = up(
        worker("child1"), worker("child2", restart="temporary", significant=True),
        strategy="one_for_all", auto_shutdown="any_significant",
    )  # fmt: skip
    assert sup.exited("child1", ABNORMAL)[-1] == "shutdown child2#2"
    assert sup.exited("child2", SHUTDOWN) == ["start child1"]
    assert sup.started("child1") == []
    assert list(sup.states) == ["child1"]


def test_significant_upgrade_terminate_child_by_an_operator_ends_nothing() -> None:
    sup = family("any_significant", "transient")
    sup.terminate_child("child1")
    assert sup.exited("child1", SHUTDOWN) == ["answer op: ok None"]
    assert counts(sup) == (3, 2, 0, 3)


def test_significant_escalation_a_supervisor_that_ended_so_is_a_transient_childs_normal_end() -> None:
    inner = family("any_significant", "transient")
    stop_in_turn(inner, inner.exited("child1", NORMAL))
    (end,) = (effect.reason for effect in inner.effects if isinstance(effect, ev.Exit))
    outer = up(worker("inner", type="supervisor", restart="transient"), worker("permanent", type="supervisor"))
    assert outer.exited("inner", end) == []
    assert outer.exited("permanent", end)[-1] == "start permanent"


# -- many ------------------------------------------------------------------------------------------------------------


def test_count_children_of_two_thousand() -> None:
    sup = dynamic(restart="temporary")
    for number in range(2000):
        assert sup.machine.adopt(str(number), number) is None
        if number in (999, 1999):
            assert counts(sup) == (number + 1, number + 1, 0, number + 1)
    for number in range(2000):
        sup.send(ev.ChildExited(str(number), number, killed(9)))
    assert counts(sup) == (0, 0, 0, 0)


def test_simple_one_for_one_scale_many_temporary_children_ten_times_as_many_take_under_fifty_times_as_long() -> None:
    def seconds(count: int) -> float:
        machine = DynamicMachine(DynamicFlags(intensity=2, period_s=HOUR), worker(restart="temporary"))
        for number in range(count):
            machine.adopt(str(number), number)
        begun = time.process_time()
        for number in range(count):
            machine.handle(ev.TerminateChild(str(number), number), 0.0)
            machine.handle(ev.ChildExited(str(number), number, SHUTDOWN), 0.0)
        return time.process_time() - begun

    assert seconds(10_000) / max(seconds(1000), 0.001) < 50


def test_scale_start_stop_many_children_of_a_static_supervisor() -> None:
    def seconds(count: int) -> float:
        begun = time.process_time()
        machine = SupervisorMachine(SupervisorFlags(), [])
        machine.handle(ev.Begin(), 0.0)
        for number in range(count):
            machine.handle(ev.StartChild(worker(str(number)), number), 0.0)
            machine.handle(ev.ChildStarted(str(number), number), 0.0)
        effects = machine.handle(ev.Shutdown(SHUTDOWN), 0.0)
        while not any(isinstance(effect, ev.Exit) for effect in effects):
            (stop,) = (effect for effect in effects if isinstance(effect, ev.Stop))
            effects = machine.handle(ev.ChildExited(stop.id, stop.pid, SHUTDOWN), 0.0)
        return time.process_time() - begun

    assert seconds(10_000) / max(seconds(1000), 0.001) < 50


# -- trees -----------------------------------------------------------------------------------------------------------


def test_tree_a_supervisor_over_its_intensity_is_restarted_by_its_parent_with_its_first_children_only() -> None:
    """Four tries in an hour at each level; what start_child had added is gone after the restart."""
    inner = empty(intensity=4)
    add(inner, worker("child3"))
    add(inner, worker("child4"))
    crash(inner, "child4")
    effects = inner.exited("child3", ABNORMAL)
    for _ in range(3):
        assert effects[-1] == "start child3"
        inner.failed("child3", ABNORMAL)
        effects = inner.timer()
    assert stop_in_turn(inner, effects) == ["child4"]
    (end,) = (effect.reason for effect in inner.effects if isinstance(effect, ev.Exit))
    outer = up(
        worker("sup1", type="supervisor"), worker("sup2", type="supervisor"), intensity=4, strategy="one_for_all"
    )
    assert counts(outer) == (2, 2, 2, 0)
    assert outer.exited("sup2", end)[-1] == "shutdown sup1#1"
    assert outer.exited("sup1", SHUTDOWN) == ["start sup1"]
    outer.started("sup1")
    outer.started("sup2")
    assert counts(outer) == (2, 2, 2, 0)
    assert empty(intensity=4).states == {}


def test_child_unlink_an_unexpected_message_is_dropped_while_a_child_is_being_stopped() -> None:
    sup = up(worker())
    sup.terminate_child("child1")
    assert sup.send(ev.ChildExited("stranger", 7, ABNORMAL)) == ["report unexpected stranger (exit code 1) ChildExited"]
    assert sup.exited("child1", SHUTDOWN) == ["answer op: ok None"]
