"""What the planner refuses, warns of and says; that its steps are right, a property test shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitnexus.errors import BadRequest, CommandRefused, UnknownPath
from bitnexus.operations.plan import Plan, plan, unsettled
from bitnexus.operations.tree import Branch, Place, find

USER = "7f0c7a36-5c6a-4b8e-9d0a-0f6d2b8f2a11"
PARTITIONS = tuple(
    Branch(f"bitnexus/transactions/transactions-{n}", pid=20 + n, declared=(), children=()) for n in range(2)
)
OPERATIONS = Branch("bitnexus/operations", pid=2)
LEDGER = Branch("bitnexus/ledger", pid=3)
TRANSACTIONS = Branch(
    "bitnexus/transactions",
    kind="supervisor",
    pid=4,
    stop_within_s=None,
    children=PARTITIONS,
    declared=tuple(replace(each, status="stopped", pid=None) for each in PARTITIONS),
)
ROOT = Branch("bitnexus", kind="supervisor", pid=1, children=(OPERATIONS, LEDGER, TRANSACTIONS))


def planned(verb: str, path: str, *, root: Branch = ROOT, status: str = "") -> Plan:
    return plan(find(root, path), verb, own_path=OPERATIONS.path, actor_status=status)


def told(found: Plan) -> list[str]:
    return [f"{step.action} {step.path.removeprefix('bitnexus/')} by {step.by} {step.note}" for step in found.steps]


def with_child(child: Branch, **fields: object) -> Branch:
    children = tuple(child if each.path == child.path else each for each in ROOT.children)
    return replace(ROOT, children=children, **fields)  # type: ignore[arg-type]


def test_a_restart_of_a_subtree_stops_it_backwards_and_starts_it_forwards() -> None:
    assert told(planned("restart", "bitnexus/transactions")) == [
        "stop transactions/transactions-1 by transactions killed after 5 s",
        "stop transactions/transactions-0 by transactions killed after 5 s",
        "stop transactions by bitnexus waits for it",
        "start transactions by bitnexus ",
        "start transactions/transactions-0 by transactions ",
        "start transactions/transactions-1 by transactions ",
    ]


def test_a_stopped_subtree_is_started_whole_and_stopping_it_again_is_nothing() -> None:
    root = with_child(replace(TRANSACTIONS, status="stopped", pid=None, children=()))
    started = told(planned("start", "bitnexus/transactions", root=root))
    assert started == told(planned("restart", "bitnexus/transactions", root=root))
    assert [step.partition(" by ")[0] for step in started] == [
        "start transactions",
        "start transactions/transactions-0",
        "start transactions/transactions-1",
    ]
    assert planned("stop", "bitnexus/transactions", root=root) == Plan()
    assert planned("start", "bitnexus/transactions") == Plan()


@pytest.mark.parametrize(
    ("verb", "path", "why"),
    [
        ("restart", "bitnexus", "started and stopped with the service"),
        ("kill", "", "started and stopped with the service"),
        ("stop", "bitnexus/operations", "nobody could take that back"),
        ("suspend", "bitnexus/operations", "nobody could take that back"),
        ("stop", f"bitnexus/transactions/transactions-0/{USER}", "suspend it"),
        ("drain", f"bitnexus/transactions/transactions-0/{USER}", "suspend it"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(verb: str, path: str, why: str) -> None:
    with pytest.raises(CommandRefused, match=why):
        planned(verb, path, status="idle")


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(BadRequest):
        planned("delete", "bitnexus/ledger")


def test_who_carries_the_commands_out_may_be_restarted_and_killed() -> None:
    for verb in ("restart", "kill"):
        assert planned(verb, OPERATIONS.path).ends(OPERATIONS.path)
    assert not planned("restart", LEDGER.path).ends(OPERATIONS.path)


def test_draining_everything_begins_with_what_comes_last_and_leaves_operations_alone() -> None:
    found = planned("drain", "")
    assert [order.to for order in found.orders] == ["transactions-1", "transactions-0", "ledger"]
    assert found.warnings == ("bitnexus/operations carries the operators' commands out, and is left as it is.",)


def test_a_kill_that_is_one_too_many_says_that_the_supervisor_gives_up() -> None:
    root = replace(ROOT, restarts_used=3)
    found = planned("kill", "bitnexus/ledger", root=root)
    assert [step.action for step in found.steps] == ["kill"]
    assert "one more, and it gives up" in found.warnings[0]


def test_a_kill_of_what_has_no_process_is_refused() -> None:
    with pytest.raises(CommandRefused, match="it is restarting"):
        planned("kill", "bitnexus/ledger", root=with_child(replace(LEDGER, status="restarting", pid=None)))


def test_what_waits_to_be_restarted_can_be_stopped_and_restarted_but_is_started_already() -> None:
    root = with_child(replace(LEDGER, status="restarting", pid=None))
    assert told(planned("stop", "bitnexus/ledger", root=root)) == ["stop ledger by bitnexus its start is cancelled"]
    assert [step.action for step in planned("restart", "bitnexus/ledger", root=root).steps] == ["stop", "start"]
    with pytest.raises(CommandRefused, match="about to be started"):
        planned("start", "bitnexus/ledger", root=root)


def test_below_a_stopped_supervisor_there_is_nobody_to_tell() -> None:
    root = with_child(replace(TRANSACTIONS, status="stopped", pid=None, children=()))
    for verb in ("start", "stop", "restart", "kill"):
        with pytest.raises(CommandRefused, match="start it first"):
            planned(verb, "bitnexus/transactions/transactions-0", root=root)


def test_a_temporary_child_is_not_restarted() -> None:
    root = with_child(replace(LEDGER, restart="temporary"))
    with pytest.raises(CommandRefused, match="temporary"):
        planned("restart", "bitnexus/ledger", root=root)
    assert "forgets it" in planned("stop", "bitnexus/ledger", root=root).warnings[0]
    assert "not restarted" in planned("kill", "bitnexus/ledger", root=root).warnings[0]


@pytest.mark.parametrize(
    ("verb", "status", "actions"),
    [
        ("start", "quarantined", ["start"]),
        ("start", "idle", []),
        ("start", "inactive", []),
        ("restart", "idle", ["restart"]),
        ("restart", "inactive", []),
        ("kill", "busy", ["kill"]),
        ("suspend", "inactive", ["suspend"]),
        ("suspend", "idle", ["suspend"]),
        ("resume", "suspended", ["resume"]),
        ("resume", "idle", []),
    ],
)
def test_a_light_actor_is_worked_on_by_its_process(verb: str, status: str, actions: list[str]) -> None:
    path = f"bitnexus/transactions/transactions-1/{USER}"
    found = planned(verb, path, status=status)
    assert [step.action for step in found.steps] == actions
    for order in found.orders:
        assert (order.kind, order.to, order.subject) == ("host", "transactions-1", USER)


@pytest.mark.parametrize(
    ("verb", "status"), [("restart", "quarantined"), ("kill", "inactive"), ("kill", "quarantined")]
)
def test_a_light_actor_in_the_wrong_state_is_refused(verb: str, status: str) -> None:
    with pytest.raises(CommandRefused):
        planned(verb, f"bitnexus/transactions/transactions-1/{USER}", status=status)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("ledger", "bitnexus/ledger"),
        ("bitnexus/legder", "bitnexus/ledger"),
        ("bitnexus/transactions-1", "bitnexus/transactions/transactions-1"),
        ("bitnexus/transactions/transactions-7", "bitnexus/transactions/transactions-1"),
        ("bitnexsu/ledger", "bitnexus/ledger"),
    ],
)
def test_an_unknown_path_is_answered_with_what_comes_near(path: str, near: str) -> None:
    with pytest.raises(UnknownPath) as caught:
        find(ROOT, path)
    assert f"There is no '{path}'; did you mean " in caught.value.detail
    assert near in caught.value.detail


def test_nothing_comes_near_to_nonsense() -> None:
    with pytest.raises(UnknownPath) as caught:
        find(ROOT, "%" * 10_000)
    assert "did you mean" not in caught.value.detail
    assert len(caught.value.detail) < 300


def test_below_a_process_is_a_light_actor_and_nothing_below_that() -> None:
    place = find(ROOT, f"/bitnexus/transactions/transactions-1/{USER}/")
    assert place == Place(PARTITIONS[1], TRANSACTIONS, USER)
    with pytest.raises(UnknownPath):
        find(ROOT, f"bitnexus/transactions/transactions-1/{USER}/x")


def test_steps_are_settled_when_the_tree_shows_them_done() -> None:
    steps = planned("restart", "bitnexus/ledger").steps
    assert unsettled(steps, ROOT) == ["bitnexus/ledger is still process 3"]
    assert unsettled(steps, with_child(replace(LEDGER, status="starting", pid=9))) == ["bitnexus/ledger is starting"]
    assert unsettled(steps, with_child(replace(LEDGER, pid=9))) == []
    assert unsettled(planned("stop", "bitnexus/ledger").steps, ROOT) == ["bitnexus/ledger is running"]


# -- replicas -----------------------------------------------------------------------------------------------------

FRONTS = tuple(Branch(f"bitnexus/http/http-{n}", pid=30 + n) for n in range(3))
HTTP = Branch("bitnexus/http", kind="supervisor", pid=5, replicas=True, children=FRONTS, stop_within_s=None)


def with_fronts(*fronts: Branch) -> Branch:
    return replace(ROOT, children=(*ROOT.children, replace(HTTP, children=fronts)))


def actions(found: Plan) -> list[str]:
    return [f"{step.action} {step.path.rpartition('/')[2]}" for step in found.steps]


def test_replicas_are_restarted_one_after_another_by_their_supervisor_which_stays() -> None:
    found = planned("restart", HTTP.path, root=with_fronts(*FRONTS))
    assert [(order.to, order.verb, order.subject) for order in found.orders] == [
        ("http", "restart", "http-0"),
        ("http", "restart", "http-1"),
        ("http", "restart", "http-2"),
    ]
    assert actions(found) == [
        "stop http-0", "start http-0", "stop http-1", "start http-1", "stop http-2", "start http-2"
    ]  # fmt: skip
    assert found.warnings == ("http stays: its children stand in for each other, and go one after another.",)


def test_replicas_that_do_not_run_are_started_before_the_others_are_stopped() -> None:
    last = replace(FRONTS[2], status="stopped", pid=None)
    found = planned("restart", HTTP.path, root=with_fronts(*FRONTS[:2], last))
    assert actions(found) == ["start http-2", "stop http-0", "start http-0", "stop http-1", "start http-1"]


def test_of_a_single_replica_it_is_said_that_nobody_stands_in_for_it() -> None:
    found = planned("restart", HTTP.path, root=with_fronts(FRONTS[0]))
    assert actions(found) == ["stop http-0", "start http-0"]
    assert "nobody stands in for it" in found.warnings[-1]


def test_all_replicas_are_stopped_together_and_started_together() -> None:
    assert len(planned("stop", HTTP.path, root=with_fronts(*FRONTS)).orders) == 1
    declared = tuple(replace(each, status="stopped", pid=None) for each in FRONTS)
    stopped = replace(HTTP, status="stopped", pid=None, children=(), declared=declared)
    root = replace(ROOT, children=(*ROOT.children, stopped))
    assert actions(planned("restart", HTTP.path, root=root)) == [
        "start http", "start http-0", "start http-1", "start http-2"
    ]  # fmt: skip
