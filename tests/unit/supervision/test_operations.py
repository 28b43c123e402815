from bitnexus.actors.runtime.reasons import ABORTED, NORMAL, SHUTDOWN
from bitnexus.supervision import events as ev
from bitnexus.supervision.events import ChildCounts, Error
from tests.unit.supervision.scripted import CRASH, Scripted, spec


def restarting(*others: str) -> Scripted:
    """Child a waits for its next try; the token of its timer is 1."""
    sup = Scripted("a", *others).up()
    sup.exited("a")
    sup.failed("a")
    return sup


def stopped() -> Scripted:
    sup = Scripted(spec("a", restart="transient")).up()
    sup.exited("a", NORMAL)
    return sup


# -- start_child ---------------------------------------------------------------------------------------------------


def test_start_child_adds_the_newest_child_and_answers_when_it_is_up() -> None:
    sup = Scripted("a").up()
    assert sup.start_child("b") == ["start b"]
    assert sup.started("b") == ["answer op: ok b#2"]
    assert [row.id for row in sup.machine.which_children()] == ["b", "a"]


def test_start_child_of_a_present_child_is_refused() -> None:
    assert Scripted("a").up().start_child("a") == ["answer op: already_started a#1"]
    assert stopped().start_child("a") == ["answer op: already_present None"]
    assert restarting().start_child("a") == ["answer op: already_present None"]


def test_start_child_that_fails_leaves_no_trace() -> None:
    sup = Scripted("a").up()
    sup.start_child("b")
    assert sup.failed("b") == [f"answer op: start_failed {CRASH}"]
    assert list(sup.states) == ["a"]
    assert sup.machine.restarts_used(sup.now) == 0


def test_start_child_that_is_ignored_is_kept_unless_temporary() -> None:
    sup = Scripted().up()
    sup.start_child("a")
    assert sup.ignored("a") == ["answer op: ok None"]
    sup.start_child(spec("b", restart="temporary"))
    assert sup.ignored("b") == ["answer op: ok None"]
    assert sup.states == {"a": None}


def test_start_child_refuses_a_significant_child_where_nothing_shuts_down_by_itself() -> None:
    (answer,) = Scripted().up().start_child(spec("a", restart="transient", significant=True))
    assert answer.startswith("answer op: bad_combination bad_combination: significant")


# -- restart_child and delete_child --------------------------------------------------------------------------------


def test_restart_child_starts_a_stopped_child_only() -> None:
    sup = stopped()
    assert sup.restart_child("a") == ["start a"]
    assert sup.restart_child("a") == ["answer op: restarting None"]
    assert sup.started("a") == ["answer op: ok a#2"]
    assert sup.restart_child("a") == ["answer op: running None"]
    assert sup.restart_child("z") == ["answer op: not_found None"]
    assert restarting().restart_child("a") == ["answer op: restarting None"]


def test_restart_child_that_fails_is_not_tried_again() -> None:
    sup = stopped()
    sup.restart_child("a")
    assert sup.failed("a") == [f"answer op: start_failed {CRASH}"]
    assert sup.timers == []
    assert sup.states == {"a": None}


def test_delete_child_forgets_a_stopped_child_only() -> None:
    sup = stopped()
    assert sup.delete_child("a") == ["answer op: ok None"]
    assert sup.delete_child("a") == ["answer op: not_found None"]
    assert Scripted("a").up().delete_child("a") == ["answer op: running None"]
    assert restarting().delete_child("a") == ["answer op: restarting None"]


def test_a_child_that_is_being_stopped_still_counts_as_running() -> None:
    sup = Scripted("a").up()
    sup.terminate_child("a")
    assert sup.restart_child("a") == ["answer op: running None"]
    assert sup.delete_child("a") == ["answer op: running None"]
    assert sup.start_child("a") == ["answer op: already_started a#1"]


# -- terminate_child -----------------------------------------------------------------------------------------------


def test_terminate_child_answers_when_the_child_has_ended_and_keeps_it() -> None:
    sup = Scripted("a", "b").up()
    assert sup.terminate_child("a") == ["shutdown a#1"]
    assert sup.exited("a", SHUTDOWN) == ["answer op: ok None"]
    assert sup.states == {"a": None, "b": "b#2"}
    assert sup.terminate_child("a") == ["answer op: ok None"]
    assert sup.terminate_child("z") == ["answer op: not_found None"]


def test_a_child_that_crashes_while_an_operator_stops_it_is_not_restarted() -> None:
    sup = Scripted("a").up()
    sup.terminate_child("a")
    assert sup.exited("a") == [f"report shutdown_error a ({CRASH}) shutdown", "answer op: ok None"]
    assert sup.states == {"a": None}


def test_terminate_child_kills_after_the_childs_time() -> None:
    sup = Scripted(spec("a", shutdown=100)).up()
    sup.terminate_child("a")
    assert sup.timers == [0.1]
    assert sup.timer() == ["kill a#1"]


def test_every_operator_who_asked_to_terminate_is_answered() -> None:
    sup = Scripted("a").up()
    sup.send(ev.TerminateChild("a", 1))
    assert sup.send(ev.TerminateChild("a", 2)) == []
    assert sup.exited("a", SHUTDOWN) == ["answer 1: ok None", "answer 2: ok None"]


def test_terminate_child_forgets_a_temporary_child() -> None:
    sup = Scripted(spec("a", restart="temporary")).up()
    sup.terminate_child("a")
    assert sup.exited("a", SHUTDOWN) == ["answer op: ok None"]
    assert sup.states == {}


def test_terminate_child_during_a_restart_cancels_the_next_try() -> None:
    sup = restarting()
    assert sup.terminate_child("a") == ["answer op: ok None"]
    assert ev.CancelTimer(1) in sup.effects
    assert sup.send(ev.TimerFired(1)) == []
    assert sup.states == {"a": None}


def test_terminate_child_gives_up_a_restart_under_way() -> None:
    sup = restarting()
    sup.send(ev.TimerFired(1))
    assert sup.terminate_child("a") == ["shutdown a (starting)"]
    assert sup.failed("a", ABORTED) == ["answer op: ok None"]
    assert sup.states == {"a": None}


def test_an_operators_start_that_another_cancels_is_answered() -> None:
    sup = Scripted().up()
    sup.send(ev.StartChild(spec("a"), 1))
    sup.send(ev.TerminateChild("a", 2))
    assert sup.failed("a", ABORTED) == ["answer 1: terminated None", "answer 2: ok None"]


# -- while the supervisor ends -------------------------------------------------------------------------------------


def test_a_supervisor_that_ends_starts_nothing_more() -> None:
    sup = Scripted("a").up()
    sup.shutdown()
    for refused in (sup.start_child("b"), sup.restart_child("a"), sup.delete_child("a")):
        assert refused == ["answer op: shutdown None"]
    assert sup.terminate_child("a") == []
    assert sup.exited("a", SHUTDOWN) == ["answer op: ok None", "exit (shutdown)"]
    for gone in (sup.start_child("b"), sup.terminate_child("a")):
        assert gone == ["answer op: noproc None"]


def test_an_operators_start_under_way_is_answered_when_the_supervisor_ends() -> None:
    sup = Scripted().up()
    sup.start_child("a")
    assert sup.shutdown() == ["shutdown a (starting)"]
    assert sup.failed("a", ABORTED) == ["answer op: shutdown None", "exit (shutdown)"]


# -- queries -------------------------------------------------------------------------------------------------------


def test_which_children_gives_the_newest_first_with_what_each_is_doing() -> None:
    sup = restarting("b")
    assert [(row.id, row.child, row.type) for row in sup.machine.which_children()] == [
        ("b", "b#2", "worker"),
        ("a", "restarting", "worker"),
    ]


def test_count_children_counts_specs_live_children_and_types() -> None:
    sup = Scripted("a", spec("s", type="supervisor"), spec("t", restart="transient")).up()
    sup.exited("t", NORMAL)
    assert sup.machine.count_children() == ChildCounts(specs=3, active=2, supervisors=1, workers=2)


def test_a_restarting_child_is_not_active_but_its_spec_counts() -> None:
    assert restarting("b").machine.count_children() == ChildCounts(specs=2, active=1, supervisors=0, workers=2)


def test_get_childspec_gives_the_whole_spec() -> None:
    sup = Scripted("a")
    assert sup.machine.get_childspec("a") == spec("a")
    assert sup.machine.get_childspec("z") == Error("not_found")
