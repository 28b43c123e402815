"""The most telling cases of OTP's own supervisor suite on real processes: what exits lead to, and how often.

Each name begins with the name of the case there; tests/unit/supervision/test_otp_cases.py has them all, on the machine.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from bitnexus.supervision.spec import Backoff, SupervisorFlags
from tests.integration.supervision.acting import (
    HOUR_S,
    TWO_AN_HOUR,
    end,
    init_of,
    kill,
    kill_and_await,
    look,
    operate,
    stop_of,
    until_back,
    until_state,
)
from tests.tree.actors import Do, Ping
from tests.tree.running import lines, operated, running, supervisor, worker


def flags(strategy: str, intensity: int = 2, **others: object) -> SupervisorFlags:
    return SupervisorFlags(strategy=strategy, intensity=intensity, period_s=HOUR_S, **others)  # type: ignore[arg-type]


# -- what an exit leads to ----------------------------------------------------------------------------------------


def test_permanent_transient_temporary_after_a_normal_end_and_after_a_kill(journal):
    kinds = ("permanent", "transient", "temporary")
    names = [f"{kind}-{how}" for kind in kinds for how in ("normal", "killed")]
    children = [worker(name, journal, restart=name.partition("-")[0]) for name in names]
    with running(operated("sub", *children, flags=flags("one_for_one", 100))) as tree:
        before = {name: tree.pid(name) for name in names}
        for name in names:
            if name.endswith("normal"):
                end(tree, name)
            else:
                kill(tree, name)
        for name in ("permanent-normal", "permanent-killed", "transient-killed"):
            until_back(tree, name, before[name])
        until_state(tree, "transient-normal", None)  # kept, not running
        until_state(tree, "temporary-normal", "forgotten")
        until_state(tree, "temporary-killed", "forgotten")
        seen = look(tree)
        assert seen.ends["permanent-normal"] == seen.ends["transient-normal"] == ["normal"]
        assert seen.ends["transient-killed"] == ["killed by signal 9 (SIGKILL)"]
        assert (seen.restarts, seen.restarts_used) == (3, 3)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_temporary_bystander_is_stopped_and_never_restarted(journal, strategy):
    bystander = worker("b", journal, restart="temporary")
    with running(operated("sub", worker("a", journal), bystander, flags=flags(strategy))) as tree:
        kill_and_await(tree, "a")
        assert lines(journal) == [*init_of("a", "b"), *stop_of("b"), *init_of("a")]
        assert list(look(tree).children) == ["a"]
        assert operate(tree, "restart", "b").code == "not_found"


def test_sup_start_ignore_child_is_kept_and_not_tried_again(journal):
    ignoring = worker("b", journal, args={"init": "ignore"})
    with running(operated("sub", worker("a", journal), ignoring, worker("c", journal), flags=TWO_AN_HOUR)) as tree:
        seen = look(tree)
        assert seen.children["b"] is None
        assert (seen.failed_starts, seen.crashes) == (0, 0)
        assert (operate(tree, "restart", "b").code, operate(tree, "restart", "b").pid) == ("ok", None)
        assert lines(journal) == init_of("a", "b", "c", "b", "b")


# -- how often ----------------------------------------------------------------------------------------------------


def test_multiple_restarts_what_left_the_window_does_not_count_and_one_too_many_within_it_does(journal, log):
    window = SupervisorFlags(intensity=2, period_s=3)
    with running(operated("sub", worker("a", journal), flags=window)) as tree:
        sub = tree.pid("sub")
        for _ in range(2):
            kill_and_await(tree, "a")
        until_none_is_used(tree)
        for _ in range(2):
            kill_and_await(tree, "a")
        assert (tree.pid("sub"), log("supervisor_shutdown")) == (sub, [])
        kill(tree, "a")
        tree.until_replaced("sub", sub)
        (gave_up,) = log("supervisor_shutdown")
        assert gave_up["context"] == "reached_max_restart_intensity"


def until_none_is_used(tree) -> None:
    deadline = time.monotonic() + 10
    while look(tree).restarts_used:
        assert time.monotonic() < deadline


def test_one_for_one_restarts_the_one_and_the_third_in_an_hour_is_too_many(journal):
    with running(operated("sub", *(worker(name, journal) for name in "abc"), flags=TWO_AN_HOUR)) as tree:
        sub, a, c = tree.pid("sub"), tree.pid("a"), tree.pid("c")
        kill_and_await(tree, "b")
        kill_and_await(tree, "b")
        assert (tree.pid("sub"), tree.pid("a"), tree.pid("c")) == (sub, a, c)
        kill(tree, "b")
        tree.until_replaced("sub", sub)
        tree.until(lambda: len(lines(journal)) >= 12, "its children are back")
        # It gave up in order, and was started anew with all of its children.
        assert lines(journal) == [*init_of("a", "b", "c", "b", "b"), *stop_of("c", "a"), *init_of("a", "b", "c")]


def test_one_for_one_escalation_after_four_failed_tries_the_supervisor_ends(journal, log):
    failing = worker("b", journal, args={"init": "fail again"})
    four = operated("sub", worker("a", journal), failing, flags=flags("one_for_one", 4), restart="transient")
    with running(four, worker("other", journal)) as tree:
        tree.ping("b")
        kill(tree, "b")
        tree.until(lambda: tree.node.whereis("sub") is None, "the end of the supervisor")
        tree.until(lambda: "terminated a" in lines(journal), "its order")
        assert lines(journal) == [*init_of("a", "b", "other"), *init_of("b") * 4, *stop_of("a")]
        assert [each["reason"] for each in log("supervisor_start_error")] == ["ValueError: cannot start again"] * 4
        tree.ping("other")
        assert tree.node.whereis("sub") is None  # it ended with shutdown: a transient child's normal end


def test_one_for_all_restarts_all_in_order_for_one_unit(journal):
    with running(operated("sub", *(worker(name, journal) for name in "abc"), flags=flags("one_for_all"))) as tree:
        sub = tree.pid("sub")
        for _ in range(2):
            c = tree.pid("c")
            kill(tree, "b")
            until_back(tree, "c", c)
        assert look(tree).restarts_used == 2
        assert lines(journal) == [*init_of("a", "b", "c"), *([*stop_of("c", "a"), *init_of("a", "b", "c")] * 2)]
        kill(tree, "b")
        tree.until_replaced("sub", sub)


def test_one_for_all_other_child_fails_restart_the_restarted_one_is_terminated_again(journal):
    failing = worker("b", journal, args={"init": "fail second"})
    with running(operated("sub", worker("a", journal), failing, flags=flags("one_for_all"))) as tree:
        b = tree.pid("b")
        kill(tree, "a")
        until_back(tree, "b", b)
        assert lines(journal) == [
            *init_of("a", "b"), *stop_of("b"), *init_of("a", "b"), *stop_of("a"), *init_of("a", "b")
        ]  # fmt: skip
        assert look(tree).restarts_used == 2


def test_rest_for_one_restarts_the_rest_alone(journal):
    with running(operated("sub", *(worker(name, journal) for name in "abcd"), flags=flags("rest_for_one"))) as tree:
        a, d = tree.pid("a"), tree.pid("d")
        kill(tree, "b")
        until_back(tree, "d", d)
        assert tree.pid("a") == a
        assert lines(journal) == [*init_of("a", "b", "c", "d"), *stop_of("d", "c"), *init_of("b", "c", "d")]


def test_rest_for_one_other_child_fails_restart_the_restarted_one_stays(journal):
    failing = worker("b", journal, args={"init": "fail second"})
    with running(operated("sub", worker("a", journal), failing, flags=flags("rest_for_one"))) as tree:
        b = tree.pid("b")
        kill(tree, "a")
        until_back(tree, "b", b)
        assert lines(journal) == [*init_of("a", "b"), *stop_of("b"), *init_of("a", "b", "b")]


def test_tree_a_supervisor_over_its_intensity_is_restarted_by_its_parent_with_its_first_children_only(journal):
    one = flags("one_for_one", 1)
    with running(operated("sub", worker("a", journal), flags=one, later=[worker("c", journal)])) as tree:
        sub = tree.pid("sub")
        assert operate(tree, "start", "c").code == "ok"
        kill_and_await(tree, "a")
        kill(tree, "a")
        tree.until_replaced("sub", sub)
        tree.until(lambda: lines(journal).count("init a") == 3, "its first child is back")
        assert list(look(tree).children) == ["a"]
        assert lines(journal) == [*init_of("a", "c", "a"), *stop_of("c"), *init_of("a")]


def test_escalation_goes_up_until_a_supervisor_may_restart(journal):
    none = flags("one_for_one", 0)
    inner = supervisor("inner", worker("b", journal), flags=none)
    outer = supervisor("outer", worker("c", journal), inner, flags=none)
    with running(worker("a", journal), outer) as tree:
        a, old = tree.pid("a"), tree.pid("outer")
        b = kill(tree, "b")
        tree.until_replaced("outer", old)
        tree.until_replaced("b", b)
        assert tree.pid("a") == a
        assert lines(journal) == [*init_of("a", "c", "b"), *stop_of("c"), *init_of("c", "b")]


def test_mass_exit_a_dozen_that_are_killed_at_once_are_all_back(journal):
    names = [f"w{number}" for number in range(12)]
    with running(operated("sub", *(worker(name, journal) for name in names), flags=flags("one_for_one", 12))) as tree:
        sub = tree.pid("sub")
        pids = {name: tree.pid(name) for name in names}
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in pids.items():
            until_back(tree, name, pid)
        seen = look(tree)
        assert (seen.crashes, seen.restarts, seen.restarts_used) == (12, 12, 12)
        assert tree.pid("sub") == sub


# -- significant children -----------------------------------------------------------------------------------------


def significant(name: str, journal, restart: str = "transient"):
    return worker(name, journal, significant=True, restart=restart)


def ends_when(journal, auto_shutdown: str, *children):
    return operated(
        "sub", *children, flags=flags("one_for_one", 5, auto_shutdown=auto_shutdown), restart="transient"
    )  # fmt: skip


def test_significant_any_the_first_normal_end_ends_all_in_reverse_and_a_crash_ends_nothing(journal):
    children = (worker("a", journal), significant("b", journal), significant("c", journal), worker("d", journal))
    with running(worker("other", journal), ends_when(journal, "any_significant", *children)) as tree:
        kill_and_await(tree, "b")
        end(tree, "b")
        tree.until(lambda: tree.node.whereis("sub") is None, "the end of the supervisor")
        tree.until(lambda: lines(journal)[-1] == "terminated a", "its order")
        assert lines(journal)[6:] == [*stop_of("b", reason="normal"), *stop_of("d", "c", "a")]
        tree.ping("other")
        assert tree.node.whereis("sub") is None


def test_significant_all_only_the_last_normal_end_ends_the_rest(journal):
    children = (worker("a", journal), significant("b", journal), significant("c", journal, "temporary"))
    with running(ends_when(journal, "all_significant", *children)) as tree:
        end(tree, "b")
        until_state(tree, "b", None)
        tree.ping("a")
        kill(tree, "c")  # a temporary child's crash is its end as well
        tree.until(lambda: tree.node.whereis("sub") is None, "the end of the supervisor")
        tree.until(lambda: lines(journal)[-1] == "terminated a", "its order")


def test_significant_bystander_that_is_stopped_with_its_siblings_ends_nothing(journal):
    both = flags("one_for_all", 5, auto_shutdown="any_significant")
    with running(operated("sub", worker("a", journal), significant("b", journal), flags=both)) as tree:
        sub, b = tree.pid("sub"), tree.pid("b")
        kill(tree, "a")
        b = until_back(tree, "b", b)
        assert operate(tree, "terminate", "b").code == "ok"
        assert operate(tree, "restart", "b").code == "ok"
        assert tree.pid("sub") == sub
        assert lines(journal) == [
            *init_of("a", "b"), *stop_of("b"), *init_of("a", "b"), *stop_of("b"), *init_of("b")
        ]  # fmt: skip


# -- what hangs, and what grows -----------------------------------------------------------------------------------


def test_hung_by_a_signal_or_by_a_blocked_loop_is_killed_and_restarted_with_that_reason(journal, log):
    children = [worker(name, journal, heartbeat_timeout_s=1.2, restart="transient") for name in ("stopped", "blocked")]
    with running(operated("sub", *children, worker("c", journal), flags=flags("one_for_one"))) as tree:
        pids = {name: tree.pid(name) for name in ("stopped", "blocked", "c")}
        os.kill(pids["stopped"], signal.SIGSTOP)
        tree.node.cast("blocked", Do("block"))
        assert tree.ping("stopped").pid != pids["stopped"]
        assert tree.ping("blocked").pid != pids["blocked"]
        seen = look(tree)
        assert seen.ends == {"stopped": ["hung"], "blocked": ["hung"]}
        assert tree.pid("c") == pids["c"]
        assert {(each["child"], each["reason"]) for each in log("supervisor_replaced")} == {
            ("stopped", "hung"), ("blocked", "hung")
        }  # fmt: skip


def test_hung_under_one_for_all_takes_its_siblings_along(journal):
    hanging = worker("b", journal, heartbeat_timeout_s=1.2)
    with running(operated("sub", worker("a", journal), hanging, flags=flags("one_for_all"))) as tree:
        a = tree.pid("a")
        os.kill(tree.pid("b"), signal.SIGSTOP)
        until_back(tree, "a", a)
        tree.until(lambda: lines(journal) == [*init_of("a", "b"), *stop_of("a"), *init_of("a", "b")], "the sweep")


def test_hung_while_it_is_being_stopped_is_killed_before_its_time_is_over(journal):
    hanging = worker("b", journal, args={"terminate": "block"}, heartbeat_timeout_s=1.2, shutdown="infinity")
    with running(operated("sub", worker("a", journal), hanging, flags=TWO_AN_HOUR)) as tree:
        assert operate(tree, "terminate", "b").code == "ok"
        seen = look(tree)
        assert seen.children["b"] is None  # an operator stopped it: it stays so
        assert seen.ends["b"] == ["killed by signal 9 (SIGKILL)"]


def test_max_rss_a_child_that_grew_too_large_is_asked_to_stop_and_started_again(journal):
    growing = worker("b", journal, restart="transient", max_rss=150_000_000)
    with running(operated("sub", worker("a", journal), growing, flags=TWO_AN_HOUR)) as tree:
        a, b = tree.pid("a"), tree.pid("b")
        tree.node.cast("b", Do("grow"))
        until_back(tree, "b", b)
        assert tree.pid("a") == a
        assert look(tree).ends == {"b": ["max_rss"]}
        assert lines(journal) == [*init_of("a", "b"), *stop_of("b"), *init_of("b")]


def test_max_rss_a_child_that_does_not_stop_when_it_is_asked_is_killed_after_its_time(journal):
    growing = worker("b", journal, max_rss=150_000_000, args={"terminate": "hang"}, shutdown=100)
    with running(operated("sub", growing, flags=TWO_AN_HOUR)) as tree:
        b = tree.pid("b")
        tree.node.cast("b", Do("grow"))
        until_back(tree, "b", b)
        assert look(tree).ends == {"b": ["max_rss"]}


def test_backoff_each_restart_waits_longer_and_its_siblings_go_on(journal):
    waiting = worker("b", journal, backoff=Backoff(first_s=0.3, factor=2, jitter=0))
    with running(operated("sub", worker("a", journal), waiting, flags=flags("one_for_all", 5))) as tree:
        for wait_s in (0.3, 0.6):
            a, started = tree.pid("a"), time.monotonic()
            kill(tree, "b")
            until_state(tree, "b", "restarting")
            assert tree.call("a", Ping()).pid == a  # type: ignore[attr-defined]  # the sweep comes with the restart
            until_back(tree, "a", a)
            assert time.monotonic() - started >= wait_s
            until_state(tree, "b", tree.ping("b").pid)
