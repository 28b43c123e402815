"""One child at a time: starts, exits, restarts, the end. (Sweeps and operators have modules of their own.)"""

import pytest

from bitnexus.actors.runtime.reasons import ABORTED, NORMAL, SHUTDOWN, ExitReason, exited, killed, shutdown
from bitnexus.supervision import events as ev
from bitnexus.supervision.machine import SupervisorMachine
from bitnexus.supervision.rules import after_exit, is_clean_stop
from bitnexus.supervision.spec import Restart, SpecError, SupervisorFlags
from tests.unit.supervision.scripted import CRASH, Scripted, spec

# -- the rules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "after_normal", "after_crash"),
    [("permanent", "restart", "restart"), ("transient", "keep", "restart"), ("temporary", "delete", "delete")],
)
def test_restart_type_and_exit_reason_decide_what_follows(
    restart: Restart, after_normal: str, after_crash: str
) -> None:
    assert [after_exit(restart, reason) for reason in (NORMAL, SHUTDOWN, shutdown("x"))] == [after_normal] * 3
    assert [after_exit(restart, reason) for reason in (CRASH, exited(1), ABORTED)] == [after_crash] * 3


def test_a_stop_is_clean_if_it_ended_as_asked_or_normally_where_that_is_allowed() -> None:
    assert is_clean_stop("permanent", "shutdown", SHUTDOWN)
    assert is_clean_stop("permanent", "kill", killed(9))
    assert is_clean_stop("transient", "shutdown", NORMAL)
    assert is_clean_stop("temporary", "kill", shutdown("x"))
    assert not is_clean_stop("permanent", "shutdown", NORMAL)
    assert not is_clean_stop("permanent", "shutdown", shutdown("x"))
    assert not is_clean_stop("permanent", "kill", SHUTDOWN)
    assert not is_clean_stop("transient", "shutdown", killed(9))


# -- the first start -----------------------------------------------------------------------------------------------


def test_children_start_in_order_and_one_after_another() -> None:
    sup = Scripted("a", "b", "c")
    assert sup.send(ev.Begin()) == ["start a"]
    assert sup.started("a") == ["start b"]
    assert sup.started("b") == ["start c"]
    assert sup.started("c") == ["running"]


def test_a_supervisor_without_children_is_up_at_once() -> None:
    assert Scripted().send(ev.Begin()) == ["running"]


def test_a_failed_first_start_rolls_back_in_reverse_and_fails_the_supervisor() -> None:
    sup = Scripted("a", "b", "c", "d")
    sup.send(ev.Begin())
    sup.started("a")
    sup.started("b")
    assert sup.failed("c") == [f"report start_error c ({CRASH}) initial_start", "shutdown b#2"]
    assert sup.exited("b", SHUTDOWN) == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == [f"exit (failed to start child 'c': {CRASH})"]


def test_an_ignored_child_is_kept_not_running_and_not_tried_again() -> None:
    sup = Scripted("a", "b")
    sup.send(ev.Begin())
    assert sup.ignored("a") == ["start b"]
    assert sup.started("b") == ["running"]
    assert sup.states == {"a": None, "b": "b#1"}


def test_an_ignored_temporary_child_is_forgotten() -> None:
    sup = Scripted(spec("a", restart="temporary"))
    sup.send(ev.Begin())
    assert sup.ignored("a") == ["running"]
    assert sup.states == {}


def test_a_child_that_dies_while_its_sibling_starts_is_restarted_without_waiting() -> None:
    sup = Scripted("a", "b", "c")
    sup.send(ev.Begin())
    sup.started("a")
    assert sup.exited("a") == [f"report child_terminated a ({CRASH}) restart", "start a"]
    assert sup.started("b") == ["start c"]
    assert sup.started("c") == ["running"]
    assert sup.started("a") == []


def test_flags_and_specs_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(SpecError, match="duplicate_child_name"):
        SupervisorMachine(SupervisorFlags(), [spec("a"), spec("a")])


# -- exits ---------------------------------------------------------------------------------------------------------


def test_only_the_child_that_died_is_restarted() -> None:
    sup = Scripted("a", "b").up()
    assert sup.exited("a") == [f"report child_terminated a ({CRASH}) restart", "start a"]
    assert sup.states == {"a": "restarting", "b": "b#2"}
    assert sup.started("a") == []
    assert sup.states == {"a": "a#3", "b": "b#2"}


def test_a_permanent_child_is_restarted_after_a_normal_exit() -> None:
    assert Scripted("a").up().exited("a", NORMAL) == ["report child_terminated a (normal) restart", "start a"]


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, shutdown("done")], ids=str)
def test_a_transient_child_that_finished_is_kept_without_a_word(reason: ExitReason) -> None:
    sup = Scripted(spec("a", restart="transient")).up()
    assert sup.exited("a", reason) == []
    assert sup.states == {"a": None}


def test_a_transient_child_that_crashed_is_restarted() -> None:
    assert Scripted(spec("a", restart="transient")).up().exited("a")[-1] == "start a"


@pytest.mark.parametrize("reason", [NORMAL, CRASH], ids=str)
def test_a_temporary_child_that_ended_is_forgotten(reason: ExitReason) -> None:
    sup = Scripted(spec("a", restart="temporary")).up()
    assert "start a" not in sup.exited("a", reason)
    assert sup.states == {}


def test_an_event_that_nobody_waits_for_is_reported_and_dropped() -> None:
    sup = Scripted("a").up()
    assert sup.send(ev.ChildExited("a", "another", CRASH)) == [f"report unexpected a ({CRASH}) ChildExited"]
    assert sup.send(ev.ChildExited("z", "z#1", CRASH)) == [f"report unexpected z ({CRASH}) ChildExited"]
    assert sup.started("z") == ["report unexpected z (None) ChildStarted"]
    assert sup.ignored("a") == ["report unexpected a (None) ChildIgnored"]
    assert sup.failed("a") == [f"report unexpected a ({CRASH}) ChildStartFailed"]
    assert sup.states == {"a": "a#1"}


# -- intensity -----------------------------------------------------------------------------------------------------


def give_up(child_id: str) -> str:
    return f"report shutdown {child_id} (shutdown) reached_max_restart_intensity"


def test_after_as_many_restarts_as_allowed_the_next_one_stops_all_in_reverse_and_exits_with_shutdown() -> None:
    sup = Scripted("a", "b", "c", intensity=2, period_s=5).up()
    for _ in range(2):
        assert sup.exited("b")[-1] == "start b"
        sup.started("b")
    assert sup.exited("b") == [f"report child_terminated b ({CRASH}) restart", give_up("b"), "shutdown c#3"]
    assert sup.exited("c", SHUTDOWN) == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown)"]


def test_an_intensity_of_zero_gives_up_at_the_first_restart() -> None:
    assert Scripted("a", intensity=0).up().exited("a")[1:] == [give_up("a"), "exit (shutdown)"]


def test_the_window_is_the_supervisors_and_not_the_childs() -> None:
    sup = Scripted("a", "b", intensity=1).up()
    assert sup.exited("a")[-1] == "start a"
    assert give_up("b") in sup.exited("b")


def test_a_restart_exactly_one_period_ago_counts_and_an_older_one_does_not() -> None:
    sup = Scripted("a", intensity=1, period_s=5).up()
    sup.exited("a")
    sup.started("a")
    sup.now += 5.001
    assert sup.exited("a")[-1] == "start a"
    sup.started("a")
    sup.now += 5
    assert give_up("a") in sup.exited("a")


def test_an_exit_that_needs_no_restart_takes_no_unit() -> None:
    sup = Scripted("a", spec("b", restart="transient"), intensity=1).up()
    sup.exited("b", NORMAL)
    assert sup.machine.restarts_used(sup.now) == 0
    assert sup.exited("a")[-1] == "start a"
    assert sup.machine.restarts_used(sup.now) == 1


def test_a_failed_restart_is_tried_again_and_takes_one_unit_each_time() -> None:
    sup = Scripted("a", "b", intensity=2).up()
    assert sup.exited("a")[-1] == "start a"
    assert sup.failed("a") == [f"report start_error a ({CRASH}) restart"]
    assert sup.timers == [0.0]
    assert sup.states["a"] == "restarting"
    assert sup.timer() == ["start a"]
    sup.failed("a")
    assert sup.timer() == [give_up("a"), "shutdown b#2"]


def test_other_children_are_looked_after_between_two_tries() -> None:
    sup = Scripted("a", "b").up()
    sup.exited("a")
    sup.failed("a")
    retry = next(effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    assert sup.exited("b")[-1] == "start b"
    assert sup.send(ev.TimerFired(retry)) == ["start a"]


def test_a_restart_that_is_ignored_ends_the_tries() -> None:
    sup = Scripted("a").up()
    sup.exited("a")
    assert sup.ignored("a") == []
    assert sup.states == {"a": None}


# -- the end -------------------------------------------------------------------------------------------------------


def test_shutdown_stops_in_reverse_order_one_after_another() -> None:
    sup = Scripted("a", "b").up()
    assert sup.shutdown(shutdown("maintenance")) == ["shutdown b#2"]
    assert sup.timers == [5.0]
    assert sup.exited("b", SHUTDOWN) == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown: maintenance)"]


def test_a_child_that_does_not_stop_in_its_time_is_killed_and_waited_for() -> None:
    sup = Scripted("a", spec("b", shutdown=200)).up()
    sup.shutdown()
    assert sup.timers == [0.2]
    assert sup.timer() == ["kill b#2"]
    assert sup.exited("b", killed(9)) == ["report shutdown_error b (killed by signal 9 (SIGKILL)) kill", "shutdown a#1"]


def test_brutal_kill_does_not_ask_and_needs_no_timer() -> None:
    sup = Scripted(spec("a", shutdown="brutal_kill")).up()
    assert sup.shutdown() == ["kill a#1"]
    assert sup.timers == []
    assert sup.exited("a", killed(9)) == ["exit (shutdown)"]


def test_infinity_is_asked_and_never_killed() -> None:
    sup = Scripted(spec("a", type="supervisor")).up()
    assert sup.shutdown() == ["shutdown a#1"]
    assert sup.timers == []


def test_a_child_that_dies_by_itself_during_shutdown_keeps_its_own_reason() -> None:
    sup = Scripted("a", "b", "c").up()
    sup.shutdown()
    assert sup.exited("a", exited(3)) == ["report shutdown_error a (exit code 3) shutdown"]
    assert sup.exited("c", exited(4)) == ["report shutdown_error c (exit code 4) shutdown", "shutdown b#2"]
    assert sup.exited("b", SHUTDOWN) == ["exit (shutdown)"]


def test_shutdown_during_the_first_start_gives_the_start_up_and_rolls_back() -> None:
    sup = Scripted("a", "b", "c")
    sup.send(ev.Begin())
    sup.started("a")
    assert sup.shutdown() == ["shutdown b (starting)"]
    assert sup.timers == [5.0]
    assert sup.timer() == ["kill b (starting)"]
    assert sup.failed("b", ABORTED) == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown)"]


def test_a_start_that_succeeds_after_it_was_given_up_is_stopped() -> None:
    sup = Scripted("a")
    sup.send(ev.Begin())
    sup.shutdown()
    assert sup.started("a") == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown)"]


def test_a_start_that_succeeds_after_its_time_to_stop_is_killed() -> None:
    sup = Scripted("a")
    sup.send(ev.Begin())
    sup.shutdown()
    sup.timer()
    assert sup.started("a") == ["kill a#1"]
    assert sup.exited("a", killed(9))[-1] == "exit (shutdown)"


def test_shutdown_cancels_a_restart_that_would_be_tried_again() -> None:
    sup = Scripted("a", "b").up()
    sup.exited("a")
    sup.failed("a")
    retry = next(effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    sup.shutdown()
    assert ev.CancelTimer(retry) in sup.effects
    assert sup.exited("b", SHUTDOWN) == ["exit (shutdown)"]
    assert sup.send(ev.TimerFired(retry)) == []


def test_the_first_shutdown_counts() -> None:
    sup = Scripted("a").up()
    sup.shutdown(shutdown("first"))
    assert sup.shutdown(shutdown("second")) == []
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown: first)"]
    assert sup.shutdown() == []


def test_a_timer_that_fires_too_late_does_no_harm() -> None:
    sup = Scripted("a", "b").up()
    sup.shutdown()
    (late,) = (effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    sup.exited("b", SHUTDOWN)
    assert sup.send(ev.TimerFired(late)) == []


# -- auto_shutdown -------------------------------------------------------------------------------------------------


def significant(child_id: str, restart: Restart = "transient") -> object:
    return spec(child_id, restart=restart, significant=True)


def test_the_end_of_any_significant_child_ends_the_supervisor() -> None:
    sup = Scripted("a", significant("b"), significant("c"), auto_shutdown="any_significant").up()  # type: ignore[arg-type]
    assert sup.exited("b", NORMAL) == ["shutdown c#3"]


def test_the_end_of_the_last_significant_child_ends_the_supervisor() -> None:
    sup = Scripted("a", significant("b"), significant("c", "temporary"), auto_shutdown="all_significant").up()  # type: ignore[arg-type]
    assert sup.exited("b", NORMAL) == []
    assert sup.exited("c", CRASH) == [f"report child_terminated c ({CRASH}) delete", "shutdown a#1"]


def test_a_significant_child_that_is_restarted_or_terminated_by_an_operator_does_not_end_the_supervisor() -> None:
    sup = Scripted("a", significant("b"), auto_shutdown="any_significant").up()  # type: ignore[arg-type]
    assert sup.exited("b")[-1] == "start b"
    sup.started("b")
    assert sup.terminate_child("b") == ["shutdown b#3"]
    assert sup.exited("b", SHUTDOWN) == ["answer op: ok None"]
