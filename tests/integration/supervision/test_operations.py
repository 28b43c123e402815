"""Operators, starts that take long or fail, and stops, on real processes: the cases of OTP's own suite, and ours.

Each name begins with the name of the case there, where it has one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from bitnexus.actors.runtime.message import Message
from bitnexus.errors import BitNexusError, NoProcess
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import Backoff, SupervisorFlags
from tests.integration.supervision.acting import (
    HOUR_S,
    TWO_AN_HOUR,
    init_of,
    kill,
    kill_and_await,
    look,
    operate,
    stop_of,
    until_state,
)
from tests.tree.operated import Operate, Result
from tests.tree.running import Tree, gone_within, is_alive, lines, operated, running, supervisor, worker

#: A supervisor answers at once; on a busy machine, soon.
AT_ONCE_S = 1.0
FOR_EVER = SupervisorFlags(intensity=1_000_000, period_s=HOUR_S)


def go(journal: Path) -> None:
    """Let the slow starts go on."""
    Path(f"{journal}.go").touch()


def asked(tree: Tree, what: str, child: str) -> list[Message | BitNexusError]:
    """Ask for an operation and do not wait: its answer will be here."""
    answers: list[Message | BitNexusError] = []
    tree.node.request("sub", Operate(what, child), answers.append, timeout_s=20)
    return answers


def looked_at_once(tree: Tree) -> dict[str, int | str | None]:
    started = time.monotonic()
    children = look(tree).children
    assert time.monotonic() - started < AT_ONCE_S
    return children


# -- operations ---------------------------------------------------------------------------------------------------


def test_child_adm_every_call_gives_the_answer_of_otp(journal):
    later = [worker("c", journal), worker("a", journal), worker("bad", journal, args={"init": "raise"})]
    with running(operated("sub", worker("a", journal), flags=TWO_AN_HOUR, later=later)) as tree:
        a = tree.pid("a")
        assert operate(tree, "start", "a") == Result("already_started", a)
        assert operate(tree, "restart", "a").code == "running"
        assert operate(tree, "delete", "a").code == "running"
        assert operate(tree, "terminate", "a").code == "ok"
        assert operate(tree, "terminate", "a").code == "ok"
        assert operate(tree, "start", "a").code == "already_present"
        again = operate(tree, "restart", "a")
        assert (again.code, again.pid) == ("ok", tree.ping("a").pid)
        assert operate(tree, "start", "c") == Result("ok", tree.ping("c").pid)
        assert operate(tree, "start", "bad").code == "start_failed"
        assert list(look(tree).children) == ["a", "c"]  # nothing is kept of what did not start
        assert operate(tree, "terminate", "c").code == "ok"
        assert operate(tree, "delete", "c").code == "ok"
        for call in ("terminate", "delete", "restart"):
            assert operate(tree, call, "c").code == "not_found"
        assert look(tree).restarts_used == 0  # an operator's restarts are free


def test_a_supervisor_answers_and_restarts_while_a_child_starts_slowly(journal):
    slow = worker("slow", journal, args={"init": "wait for file"})
    with running(operated("sub", worker("a", journal), flags=TWO_AN_HOUR, later=[slow])) as tree:
        answers = asked(tree, "start", "slow")
        until_state(tree, "slow", "restarting")
        assert looked_at_once(tree)["a"] == tree.pid("a")
        kill_and_await(tree, "a")
        assert operate(tree, "start", "slow").code == "already_present"
        assert answers == []
        go(journal)
        tree.until(lambda: answers, "an answer")
        assert answers == [Result("ok", tree.ping("slow").pid)]


def test_terminate_during_a_start_ends_it_and_whoever_waited_for_it_hears(journal):
    slow = worker("slow", journal, args={"init": "wait for file"}, restart="temporary")
    with running(operated("sub", worker("a", journal), flags=TWO_AN_HOUR, later=[slow])) as tree:
        answers = asked(tree, "start", "slow")
        tree.until(lambda: "init slow" in lines(journal), "the start is under way")
        assert operate(tree, "terminate", "slow").code == "ok"
        tree.until(lambda: answers, "an answer")
        assert answers == [Result("terminated")]
        assert list(look(tree).children) == ["a"]


def test_terminate_during_a_restart_that_takes_long_ends_it_and_it_can_be_started_again(journal):
    slow = worker("b", journal, args={"init": "wait for file again"})
    with running(operated("sub", worker("a", journal), slow, flags=TWO_AN_HOUR)) as tree:
        kill(tree, "b")
        tree.until(lambda: lines(journal).count("init b") == 2, "the restart is under way")
        assert looked_at_once(tree)["b"] == "restarting"
        assert operate(tree, "restart", "b").code == "restarting"
        assert operate(tree, "delete", "b").code == "restarting"
        assert operate(tree, "terminate", "b").code == "ok"
        assert look(tree).children["b"] is None
        go(journal)
        assert operate(tree, "restart", "b") == Result("ok", tree.ping("b").pid)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_hanging_restart_loop_operators_are_answered_and_can_end_it(journal, strategy):
    flags = SupervisorFlags(strategy=strategy, intensity=1_000_000, period_s=HOUR_S)
    failing = worker("b", journal, args={"init": "fail again"})
    with running(operated("sub", worker("a", journal), failing, flags=flags)) as tree:
        kill(tree, "b")
        tree.until(lambda: lines(journal).count("init b") >= 4, "it is tried again and again")
        assert looked_at_once(tree)["b"] == "restarting"
        assert operate(tree, "restart", "b").code == "restarting"
        assert operate(tree, "terminate", "b").code == "ok"
        seen = look(tree)
        assert seen.children["b"] is None
        assert seen.failed_starts >= 2  # one more may have been given up
        assert operate(tree, "delete", "b").code == "ok"
        tree.ping("a") if strategy != "one_for_all" else operate(tree, "restart", "a")
        tries = lines(journal).count("init b")
        tree.ping("a")
        assert lines(journal).count("init b") == tries


# -- starts -------------------------------------------------------------------------------------------------------


def test_sup_start_fail_rolls_back_in_reverse_and_names_the_child(journal):
    below = supervisor("sub", worker("b", journal), worker("c", journal))
    bad = worker("bad", journal, args={"init": "raise"})
    launcher = Launcher("root", SupervisorFlags(), [worker("a", journal), below, bad])
    with pytest.raises(NoProcess, match="failed to start child 'bad': ValueError: cannot start"):
        launcher.start()
    assert lines(journal) == [*init_of("a", "b", "c", "bad"), *stop_of("c", "b", "a")]


def test_a_supervisor_that_cannot_start_its_children_again_is_a_failed_restart_of_its_parent(journal, log):
    below = supervisor("below", worker("b", journal), worker("c", journal, args={"init": "fail second"}))
    with running(operated("sub", worker("a", journal), below, flags=TWO_AN_HOUR)) as tree:
        c = tree.pid("c")
        kill(tree, "below")
        tree.until_replaced("c", c)
        # b had no time to write when its supervisor was killed; the rollback is in order.
        assert lines(journal) == [*init_of("a", "b", "c"), *init_of("b", "c"), *stop_of("b"), *init_of("b", "c")]
        seen = look(tree)
        assert seen.ends["below"] == [
            "killed by signal 9 (SIGKILL)", "failed to start child 'c': ValueError: cannot start now"
        ]  # fmt: skip
        assert (seen.failed_starts, seen.restarts_used) == (1, 2)


# -- stops --------------------------------------------------------------------------------------------------------


def test_sup_stop_one_is_asked_one_overruns_its_time_one_is_killed_unasked_one_dies_by_itself(journal, log):
    children = (
        worker("asked", journal),
        worker("late", journal, args={"terminate": "hang"}, shutdown=200),
        worker("brutal", journal, shutdown="brutal_kill"),
        worker("own", journal, args={"terminate": "exit"}),
    )
    with running(operated("sub", *children, flags=TWO_AN_HOUR), worker("last", journal)) as tree:
        started = time.monotonic()
        assert tree.stop()
        assert time.monotonic() - started >= 0.2
    assert lines(journal)[5:] == [
        *stop_of("last"), "terminate own: shutdown", "terminate late: shutdown", *stop_of("asked")
    ]  # fmt: skip
    reported = {each["child"]: each["reason"] for each in log("supervisor_shutdown_error")}
    assert reported == {"own": "exit code 3", "late": "killed by signal 9 (SIGKILL)"}


def test_sup_stop_a_child_that_ignores_sigterm_is_stopped_by_its_supervisor_all_the_same(journal):
    deaf = worker("deaf", journal, args={"init": "deaf", "terminate": "hang"}, shutdown=200)
    with running(operated("sub", deaf, flags=TWO_AN_HOUR)) as tree:
        pid = tree.pid("deaf")
        os.kill(pid, signal.SIGTERM)
        assert tree.ping("deaf").pid == pid
        assert operate(tree, "terminate", "deaf").code == "ok"
        assert not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid))
        assert lines(journal) == ["init deaf", "terminate deaf: shutdown"]


def test_sup_stop_infinity_waits_for_as_long_as_it_takes(journal):
    patient = worker("b", journal, args={"terminate": "wait for file"}, shutdown="infinity")
    with running(operated("sub", worker("a", journal), patient, flags=TWO_AN_HOUR)) as tree:
        answers = asked(tree, "terminate", "b")
        tree.until(lambda: "terminate b: shutdown" in lines(journal), "it is asked")
        assert isinstance(looked_at_once(tree)["b"], int)
        kill_and_await(tree, "a")
        assert answers == []
        go(journal)
        tree.until(lambda: answers, "an answer")
        assert lines(journal)[-1] == "terminated b"


@pytest.mark.parametrize("how", ["slow", "failing", "backing off"])
def test_shutdown_while_a_child_is_being_restarted_ends_in_order_and_at_once(journal, how):
    init = {"slow": "wait for file again", "failing": "fail again", "backing off": ""}[how]
    backoff = Backoff(first_s=60, ceiling_s=60) if how == "backing off" else None
    restarting = worker("b", journal, args={"init": init}, backoff=backoff)
    with running(operated("sub", worker("a", journal), restarting, worker("c", journal), flags=FOR_EVER)) as tree:
        kill(tree, "b")
        until_state(tree, "b", "restarting")
        started = time.monotonic()
        assert tree.stop()
        assert time.monotonic() - started < 3
    assert [line for line in lines(journal) if not line.startswith("init")] == stop_of("c", "a")


def test_shutdown_during_a_sweep_stops_what_is_up_and_starts_nothing_more(journal):
    slow = worker("b", journal, args={"init": "wait for file again"})
    flags = SupervisorFlags(strategy="one_for_all", intensity=5, period_s=HOUR_S)
    with running(operated("sub", worker("a", journal), slow, worker("c", journal), flags=flags)) as tree:
        kill(tree, "c")
        tree.until(lambda: lines(journal).count("init b") == 2, "the sweep is at its second child")
        assert tree.stop()
    assert lines(journal) == [*init_of("a", "b", "c"), *stop_of("b", "a"), *init_of("a", "b"), *stop_of("a")]


# -- no orphan ----------------------------------------------------------------------------------------------------


def test_no_orphan_lives_when_a_supervisor_is_killed_and_the_parent_brings_all_of_it_back(journal):
    deepest = supervisor("deepest", worker("d", journal), worker("e", journal))
    middle = supervisor("middle", worker("b", journal), deepest, worker("c", journal))
    with running(worker("a", journal), middle) as tree:
        a = tree.pid("a")
        below = {name: psutil.Process(tree.pid(name)) for name in ("middle", "b", "deepest", "c", "d", "e")}
        below["d"].suspend()  # nor one that cannot react
        below["middle"].kill()
        gone_within(below.values(), 1.0)
        for name, process in below.items():
            tree.until_replaced(name, process.pid)
        assert tree.pid("a") == a
        assert lines(journal) == init_of("a", *["b", "d", "e", "c"] * 2)


def test_no_orphan_lives_of_a_start_that_was_under_way_when_its_supervisor_was_killed(journal):
    slow = worker("b", journal, args={"init": "wait for file again"})
    with running(operated("sub", worker("a", journal), slow, flags=TWO_AN_HOUR)) as tree:
        sub = tree.pid("sub")
        kill(tree, "b")
        tree.until(lambda: lines(journal).count("init b") == 2, "the start is under way")
        below = psutil.Process(sub).children(recursive=True)
        assert len(below) == 2
        go(journal)
        os.kill(sub, signal.SIGKILL)
        gone_within(below, 1.0)
        tree.until_replaced("sub", sub)
        tree.ping("b")


def test_crashes_while_a_supervisor_is_itself_stopped_are_dealt_with_when_it_runs_again(journal):
    children = [worker(name, journal) for name in "abc"]
    with running(operated("sub", *children, flags=TWO_AN_HOUR, heartbeat_timeout_s=None)) as tree:
        sub, pids = psutil.Process(tree.pid("sub")), [tree.pid(name) for name in "ab"]
        sub.suspend()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        tree.run(asyncio.sleep(0.1))  # what is tested is that nothing happens meanwhile
        sub.resume()
        for name, pid in zip("ab", pids, strict=True):
            tree.until_replaced(name, pid)
        assert look(tree).restarts_used == 2
