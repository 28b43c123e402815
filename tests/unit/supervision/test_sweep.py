"""one_for_all and rest_for_one: who is stopped, who is started, in which order, and what disturbs it."""

from bitnexus.actors.runtime.reasons import ABORTED, NORMAL, SHUTDOWN
from bitnexus.supervision import events as ev
from tests.unit.supervision.scripted import CRASH, Scripted, spec

DIED = f"({CRASH}) restart"


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() -> None:
    sup = Scripted("a", "b", "c", strategy="one_for_all").up()
    assert sup.exited("b") == [f"report child_terminated b {DIED}", "shutdown c#3"]
    assert sup.exited("c", SHUTDOWN) == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == ["start a"]
    assert sup.started("a") == ["start b"]
    assert sup.started("b") == ["start c"]
    assert sup.started("c") == []
    assert sup.machine.restarts_used(sup.now) == 1


def test_rest_for_one_leaves_those_that_were_started_before_alone() -> None:
    sup = Scripted("a", "b", "c", "d", strategy="rest_for_one").up()
    assert sup.exited("b") == [f"report child_terminated b {DIED}", "shutdown d#4"]
    assert sup.exited("d", SHUTDOWN) == ["shutdown c#3"]
    assert sup.exited("c", SHUTDOWN) == ["start b"]
    sup.started("b")
    sup.started("c")
    assert sup.started("d") == []
    assert sup.states["a"] == "a#1"


def test_an_exit_that_needs_no_restart_does_not_trigger_the_strategy() -> None:
    sup = Scripted("a", spec("b", restart="transient"), spec("c", restart="temporary"), strategy="one_for_all").up()
    assert sup.exited("b", NORMAL) == []
    assert sup.exited("c", CRASH) == [f"report child_terminated c ({CRASH}) delete"]
    assert sup.states == {"a": "a#1", "b": None}


def test_a_sweep_starts_finished_and_stopped_children_too_and_forgets_temporary_ones() -> None:
    sup = Scripted(
        "a", spec("b", restart="transient"), spec("c", restart="temporary"), "d", strategy="one_for_all"
    ).up()
    sup.exited("b", NORMAL)
    sup.terminate_child("d")
    sup.exited("d", SHUTDOWN)
    assert sup.exited("a")[-1] == "shutdown c#3"
    assert sup.exited("c", SHUTDOWN) == ["start a"]
    assert sup.started("a") == ["start b"]
    assert sup.started("b") == ["start d"]
    sup.started("d")
    assert list(sup.states) == ["a", "b", "d"]


def test_a_child_that_dies_before_its_turn_to_stop_is_not_a_crash_of_its_own() -> None:
    sup = Scripted("a", "b", "c", strategy="one_for_all", intensity=1).up()
    sup.exited("b")
    assert sup.exited("a") == [f"report shutdown_error a ({CRASH}) shutdown"]
    assert sup.exited("c", SHUTDOWN) == ["start a"]
    assert sup.machine.restarts_used(sup.now) == 1


def test_a_failed_start_in_one_for_all_terminates_again_what_was_restarted() -> None:
    sup = Scripted("a", "b", "c", strategy="one_for_all").up()
    sup.exited("c")
    sup.exited("b", SHUTDOWN)
    sup.exited("a", SHUTDOWN)
    assert sup.started("a") == ["start b"]
    assert sup.failed("b") == [f"report start_error b ({CRASH}) sweep"]
    assert sup.states == {"a": "a#4", "b": "restarting", "c": None}
    assert sup.timer() == ["shutdown a#4"]
    assert sup.exited("a", SHUTDOWN) == ["start a"]
    assert sup.machine.restarts_used(sup.now) == 2


def test_a_failed_start_in_rest_for_one_leaves_what_was_restarted() -> None:
    sup = Scripted("a", "b", "c", strategy="rest_for_one").up()
    sup.exited("a")
    sup.exited("c", SHUTDOWN)
    sup.exited("b", SHUTDOWN)
    sup.started("a")
    sup.failed("b")
    assert sup.timer() == ["start b"]
    assert sup.started("b") == ["start c"]
    assert sup.states["a"] == "a#4"


def test_a_crash_of_a_restarted_child_starts_the_sweep_over_without_waiting_for_the_rest() -> None:
    sup = Scripted("a", "b", "c", strategy="one_for_all").up()
    sup.exited("c")
    sup.exited("b", SHUTDOWN)
    sup.exited("a", SHUTDOWN)
    sup.started("a")
    assert sup.exited("a") == [f"report child_terminated a {DIED}", "shutdown b (starting)"]
    assert sup.failed("b", ABORTED) == ["start a"]
    sup.started("a")
    sup.started("b")
    assert sup.started("c") == []
    assert sup.machine.restarts_used(sup.now) == 2


def test_a_crash_before_the_scope_of_a_sweep_extends_it() -> None:
    sup = Scripted("a", "b", "c", strategy="rest_for_one").up()
    assert sup.exited("b")[-1] == "shutdown c#3"
    assert sup.exited("a") == [f"report child_terminated a {DIED}"]
    assert sup.exited("c", SHUTDOWN) == ["start a"]
    assert sup.started("a") == ["start b"]
    assert sup.started("b") == ["start c"]


def test_a_crash_during_the_first_start_sweeps_and_the_supervisor_is_up_when_all_are() -> None:
    sup = Scripted("a", "b", spec("c", restart="temporary"), strategy="rest_for_one")
    sup.send(ev.Begin())
    sup.started("a")
    assert sup.exited("a") == [f"report child_terminated a {DIED}", "shutdown b (starting)"]
    assert sup.failed("b", ABORTED) == ["start a"]
    sup.started("a")
    assert sup.started("b") == ["start c"]
    assert sup.started("c") == ["running"]


def test_a_start_that_fails_after_such_a_sweep_fails_the_supervisor() -> None:
    sup = Scripted("a", "b", strategy="one_for_all")
    sup.send(ev.Begin())
    sup.started("a")
    sup.exited("a")
    sup.failed("b", ABORTED)
    sup.started("a")
    assert sup.failed("b")[-1] == "shutdown a#2"
    assert sup.exited("a", SHUTDOWN) == [f"exit (failed to start child 'b': {CRASH})"]


def test_an_operator_who_terminates_a_child_during_a_sweep_is_obeyed_and_the_sweep_goes_on() -> None:
    sup = Scripted("a", "b", "c", strategy="one_for_all").up()
    sup.exited("a")
    assert sup.terminate_child("b") == []  # its turn will come
    assert sup.exited("c", SHUTDOWN) == ["shutdown b#2"]
    assert sup.exited("b", SHUTDOWN) == ["answer op: ok None", "start a"]
    assert sup.started("a") == ["start c"]
    assert sup.started("c") == []
    assert sup.states == {"a": "a#4", "b": None, "c": "c#5"}


def test_an_operator_can_cancel_the_start_of_a_child_whose_turn_in_a_sweep_has_not_come() -> None:
    sup = Scripted("a", "b", strategy="one_for_all").up()
    sup.exited("b")
    assert sup.exited("a", SHUTDOWN) == ["start a"]
    assert sup.terminate_child("b") == ["answer op: ok None"]
    assert sup.started("a") == []
    assert sup.states == {"a": "a#3", "b": None}


def test_a_child_that_an_operator_is_starting_is_swept_along_and_the_operator_hears_how_it_ended() -> None:
    sup = Scripted("a", strategy="rest_for_one").up()
    sup.start_child("b")
    assert sup.exited("a")[-1] == "shutdown b (starting)"
    assert sup.failed("b", ABORTED) == ["start a"]
    assert sup.started("a") == ["start b"]
    assert sup.started("b") == ["answer op: ok b#3"]


def test_shutdown_while_restarting_stops_what_is_up() -> None:
    sup = Scripted("a", "b", "c", strategy="one_for_all").up()
    sup.exited("c")
    sup.exited("b", SHUTDOWN)
    sup.exited("a", SHUTDOWN)
    sup.started("a")
    assert sup.shutdown() == ["shutdown b (starting)"]
    assert sup.failed("b", ABORTED) == ["shutdown a#4"]
    assert sup.exited("a", SHUTDOWN) == ["exit (shutdown)"]


def test_a_crash_behind_a_sweep_does_not_make_it_forget_those_it_has_yet_to_start() -> None:
    sup = Scripted("a", "b", "c", strategy="rest_for_one").up()
    sup.exited("b")
    sup.start_child("d")
    sup.started("d")
    assert sup.exited("c", SHUTDOWN) == ["start b"]
    assert sup.exited("d")[-1] == "shutdown b (starting)"
    assert sup.failed("b", ABORTED) == ["start b"]
    assert sup.started("b") == ["start c"]
    assert sup.started("c") == ["start d"]


def test_a_crash_behind_a_sweep_that_still_stops_children_does_not_spare_them() -> None:
    sup = Scripted("a", "b", "c", "d", strategy="rest_for_one").up()
    assert sup.exited("b")[-1] == "shutdown d#4"
    sup.start_child("e")
    sup.started("e")
    assert sup.exited("e") == [f"report child_terminated e {DIED}"]
    assert sup.exited("d", SHUTDOWN) == ["shutdown c#3"]
    assert sup.exited("c", SHUTDOWN) == ["start b"]


def test_an_operators_start_that_waits_in_a_sweep_is_answered_if_another_cancels_it() -> None:
    sup = Scripted("a", strategy="rest_for_one").up()
    sup.send(ev.StartChild(spec("b"), 1))
    sup.exited("a")
    assert sup.failed("b", ABORTED) == ["start a"]
    assert sup.send(ev.TerminateChild("b", 2)) == ["answer 1: terminated None", "answer 2: ok None"]
    assert sup.started("a") == []


def test_an_operators_start_that_waits_in_a_sweep_is_answered_if_the_sweep_fails() -> None:
    sup = Scripted("a", strategy="rest_for_one").up()
    sup.start_child("b")
    sup.exited("a")
    sup.failed("b", ABORTED)
    assert sup.failed("a") == [f"report start_error a ({CRASH}) sweep", f"answer op: start_failed {CRASH}"]
    assert sup.states == {"a": "restarting", "b": None}


def test_a_start_that_fails_before_its_turn_to_stop_is_not_tried_again_while_the_supervisor_ends() -> None:
    sup = Scripted("a", "b").up()
    sup.exited("a")
    assert sup.shutdown() == ["shutdown b#2"]
    assert sup.failed("a") == [f"report start_error a ({CRASH}) restart"]
    assert sup.timers == []
    assert sup.exited("b", SHUTDOWN) == ["exit (shutdown)"]


def test_a_start_that_fails_or_is_ignored_before_its_turn_to_stop_leaves_the_sweep_alone() -> None:
    sup = Scripted("a", "b", "c", strategy="rest_for_one").up()
    sup.exited("b")
    sup.start_child("d")
    sup.started("d")
    sup.exited("c", SHUTDOWN)  # b is starting, d is alive behind the sweep
    sup.exited("a")
    assert sup.failed("b") == [f"report start_error b ({CRASH}) sweep"]
    assert sup.timers == []
    assert sup.exited("d", SHUTDOWN) == ["start a"]
    assert sup.started("a") == ["start b"]
    assert sup.started("b") == ["start c"]
