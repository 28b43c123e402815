"""What processes and their supervisors do for operators: real processes, suspended, drained, traced, restarted."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import psutil
import pytest

from bitnexus.actors.runtime import gate, process
from bitnexus.actors.runtime.inspection_messages import (
    Drain,
    Drained,
    GetState,
    MailboxTraced,
    Resume,
    StateSummary,
    Suspend,
    TraceMailbox,
)
from bitnexus.actors.runtime.message import Done, GetMetrics, Metrics
from bitnexus.errors import BadRequest, CallTimeout, Overloaded, ProcessDown
from bitnexus.supervision.inspection_messages import (
    ChildOperated,
    ChildrenReport,
    Ends,
    GetChildren,
    GetEnds,
    OperateChild,
)
from tests.tree.actors import Do, Ping, Pong, Queue, Release, Write
from tests.tree.running import lines, running, supervisor, worker

#: Far below how long a restart takes on a busy machine, and far above the heartbeat timeout that tests set.
SUSPENDED_S = 1.5


def children_of(tree, name):
    report = tree.call(name, GetChildren())
    assert isinstance(report, ChildrenReport)
    return {child.id: child for child in report.children}


def state_of(tree, name):
    summary = tree.call(name, GetState())
    assert isinstance(summary, StateSummary)
    return summary.fields


def until_status(tree, status):
    """Wait until its supervisor shows this of the process `a`."""
    deadline = time.monotonic() + 10
    while (seen := children_of(tree, "root")["a"].status) != status:
        assert time.monotonic() < deadline, seen


# -- suspended ----------------------------------------------------------------------------------------------------


def test_a_suspended_process_takes_nothing_is_not_killed_as_hung_and_goes_on_in_order(journal):
    with running(worker("a", journal, heartbeat_timeout_s=0.5)) as tree:
        pid = tree.ping("a").pid
        assert isinstance(tree.call("a", Suspend()), Done)

        async def write_all() -> None:
            writes = [tree.node.call("a", Write(str(number)), timeout_s=20) for number in range(1000)]
            writing = asyncio.gather(*writes)
            await asyncio.sleep(SUSPENDED_S)  # time must pass: three times what a hung process is given
            assert not writing.done()
            assert "0" not in lines(journal)
            await tree.node.call("a", Resume())
            await writing

        until_status(tree, "suspended")
        tree.run(write_all(), 30)
        assert tree.ping("a").pid == pid
        assert [line for line in lines(journal) if line.isdigit()] == [str(number) for number in range(1000)]
        until_status(tree, "running")


def test_a_suspended_process_still_tells_its_metrics_and_its_state(journal):
    with running(worker("a", journal)) as tree:
        tree.call("a", Suspend())
        with pytest.raises(CallTimeout):
            tree.call("a", Ping(), timeout_s=0.2)
        metrics = tree.call("a", GetMetrics())
        assert isinstance(metrics, Metrics)
        assert "bitnexus_mailbox_messages 2.0" in metrics.text  # the question itself is one of them
        assert state_of(tree, "a")["suspended"] is True
        assert state_of(tree, "a")["mailbox"] == 1
        tree.call("a", Resume())
        assert state_of(tree, "a") == {
            "class": "Worker",
            "suspended": False,
            "mailbox": 0,
            "calls_in_flight": 0,
            "light_actors": None,
        }


def test_what_waits_for_a_suspended_process_is_bounded(journal, monkeypatch):
    monkeypatch.setattr(process, "MAX_MAILBOX", 10)
    with running(worker("a", journal)) as tree:
        tree.call("a", Suspend())

        async def flood() -> Any:
            calls = [tree.node.call("a", Ping(number), timeout_s=2) for number in range(25)]
            gathered = asyncio.gather(*calls, return_exceptions=True)
            await asyncio.sleep(0)
            await tree.node.call("a", GetState())
            await tree.node.call("a", Resume())
            return await gathered

        answers = tree.run(flood())
        assert [answer.number for answer in answers if isinstance(answer, Pong)] == list(range(10))
        assert sum(isinstance(answer, Overloaded) for answer in answers) == 15


def test_a_suspended_process_stops_when_it_is_told_and_its_callers_find_the_successor(journal):
    with running(worker("a", journal)) as tree:
        pid = tree.ping("a").pid
        tree.call("a", Suspend())

        async def ask() -> Any:
            asking = asyncio.ensure_future(tree.node.call("a", Ping(7), timeout_s=20, retry=True))
            await asyncio.sleep(0.05)
            await tree.node.call("root", OperateChild("a", "restart"), timeout_s=20)
            return await asking

        answer = tree.run(ask(), 30)
        assert (answer.number, answer.pid == pid) == (7, False)
        assert f"terminated {'a'}" in lines(journal)


def test_what_comes_while_a_process_stops_is_for_its_successor(journal):
    with running(worker("a", journal, args={"terminate": "hang"}, shutdown=500)) as tree:
        pid = tree.ping("a").pid

        async def ask() -> Any:
            restarting = asyncio.ensure_future(tree.node.call("root", OperateChild("a", "restart"), timeout_s=20))
            while "terminate a: shutdown" not in lines(journal):
                await asyncio.sleep(0.005)
            once = tree.node.call("a", Ping(8), timeout_s=20)
            again = tree.node.call("a", Ping(7), timeout_s=20, retry=True)
            answers = await asyncio.gather(again, once, return_exceptions=True)
            await restarting
            return answers

        repeated, lost = tree.run(ask(), 30)
        assert (repeated.number, repeated.pid == pid) == (7, False)
        assert isinstance(lost, ProcessDown)


# -- drained ------------------------------------------------------------------------------------------------------


def test_a_drained_process_finishes_what_it_has_and_takes_no_more(journal):
    with running(worker("a", journal)) as tree:

        async def drain() -> None:
            begun = asyncio.ensure_future(tree.node.call("a", Queue("begun"), timeout_s=20))
            await tree.node.call("a", Ping())  # behind it, so it is there
            assert await tree.node.call("a", Drain(0.1)) == Drained(1)
            late = asyncio.ensure_future(tree.node.call("a", Ping(), timeout_s=20))
            released = asyncio.ensure_future(tree.node.call("a", Release(), timeout_s=20))
            await asyncio.sleep(0.05)
            assert [task.done() for task in (begun, late, released)] == [False] * 3
            await tree.node.call("a", Resume())
            await asyncio.gather(begun, late, released)
            assert await tree.node.call("a", Drain(5)) == Drained(0)

        tree.run(drain(), 30)


def test_a_resume_ends_a_drain_that_takes_too_long(journal):
    with running(worker("a", journal)) as tree:

        async def drain() -> None:
            begun = asyncio.ensure_future(tree.node.call("a", Queue("begun"), timeout_s=20))
            await tree.node.call("a", Ping())
            draining = asyncio.ensure_future(tree.node.call("a", Drain(60), timeout_s=60))
            await tree.node.call("a", GetState())
            await tree.node.call("a", Resume())
            assert await draining == Drained(1)
            await tree.node.call("a", Release())
            await begun

        tree.run(drain(), 30)


# -- traced -------------------------------------------------------------------------------------------------------


def test_a_trace_has_type_sender_and_size_of_the_next_messages_and_nothing_else(journal):
    with running(worker("a", journal), worker("b", journal)) as tree:

        async def trace() -> Any:
            tracing = asyncio.ensure_future(tree.node.call("a", TraceMailbox(3, 10.0)))
            await tree.node.call("a", GetState())  # the trace is on when this is answered; it may be in it
            for text in ("secret", "secret" * 10, "secret" * 100):
                await tree.node.call("a", Write(text))
            return await tracing

        traced = tree.run(trace())
        assert len(traced.messages) == 3
        assert {message.message for message in traced.messages} <= {"GetState", "Write"}
        last = traced.messages[-1]
        assert (last.message, last.is_call) == ("Write", True)
        assert last.size > 60
        assert abs(last.time_us / 1e6 - time.time()) < 60
        assert "secret" not in repr(traced)


def test_a_trace_ends_in_its_time_and_there_are_only_so_many(journal, monkeypatch):
    monkeypatch.setattr(gate, "MAX_TRACES", 2)
    with running(worker("a", journal)) as tree:

        async def trace() -> list[object]:
            return await asyncio.gather(
                *(tree.node.call("a", TraceMailbox(10, 0.2)) for _ in range(3)), return_exceptions=True
            )

        first, second, third = tree.run(trace())
        assert isinstance(third, Overloaded)
        for traced in (first, second):
            assert isinstance(traced, MailboxTraced)
            assert {message.message for message in traced.messages} <= {"TraceMailbox"}
        assert tree.ping("a").number == 0


# -- supervisors --------------------------------------------------------------------------------------------------


def test_a_supervisor_tells_of_its_children_in_start_order(journal):
    with running(worker("a", journal), supervisor("sub", worker("b", journal), worker("c", journal))) as tree:
        report = tree.call("root", GetChildren())
        assert isinstance(report, ChildrenReport)
        assert (report.path, report.strategy, report.restarts_used, report.restarts_allowed) == (
            "root",
            "one_for_one",
            0,
            100,
        )
        a, sub = report.children
        assert (a.id, a.kind, a.status, a.pid, a.restarts) == ("a", "worker", "running", tree.pid("a"), 0)
        assert a.uptime_s is not None
        assert 0 <= a.uptime_s < 60
        assert [child.id for child in sub.declared] == ["b", "c"]
        assert list(children_of(tree, "sub")) == ["b", "c"]


def test_stop_start_and_restart_of_a_subtree_go_in_order(journal):
    with running(worker("a", journal), supervisor("sub", worker("b", journal), worker("c", journal))) as tree:
        journal.unlink()
        assert tree.call("root", OperateChild("sub", "stop")) == ChildOperated("ok")
        assert children_of(tree, "root")["sub"].status == "stopped"
        assert tree.call("root", OperateChild("sub", "stop")) == ChildOperated("ok")
        assert tree.call("root", OperateChild("sub", "start")) == ChildOperated("ok")
        assert tree.call("root", OperateChild("sub", "start")) == ChildOperated("running")
        assert tree.call("root", OperateChild("sub", "restart")) == ChildOperated("ok")
        assert tree.call("root", OperateChild("nobody", "restart")) == ChildOperated("not_found")
        assert tree.call("root", OperateChild("nobody", "kill")) == ChildOperated("not_found")
        with pytest.raises(BadRequest):
            tree.call("root", OperateChild("a", "delete"))
        once = ["init b", "init c", "terminate c: shutdown", "terminated c", "terminate b: shutdown", "terminated b"]
        assert lines(journal) == [*once[2:], *once, *once[:2]]
        # An operator's restart is none that counts.
        assert children_of(tree, "root")["sub"].restarts == 0


def test_a_restart_tries_a_start_that_fails_again(journal):
    has_failed = journal.parent / "journal.a"
    has_failed.touch()
    with running(worker("a", journal, args={"init": "fail once"})) as tree:
        has_failed.unlink()
        assert tree.call("root", OperateChild("a", "restart"), timeout_s=20) == ChildOperated("ok")
        assert tree.ping("a").number == 0
        assert lines(journal).count("init a") == 3


def test_a_kill_is_a_crash_with_all_that_follows(journal):
    with running(worker("a", journal)) as tree:
        pid = tree.ping("a").pid
        assert tree.call("root", OperateChild("a", "kill")) == ChildOperated("ok")
        tree.until_replaced("a", pid)
        tree.ping("a")
        child = children_of(tree, "root")["a"]
        assert (child.restarts, child.exits, child.last_exit) == (1, 1, "killed by signal 9 (SIGKILL)")
        assert abs(child.last_exit_us / 1e6 - time.time()) < 60
        ends = tree.call("root", GetEnds())
        assert isinstance(ends, Ends)
        (end,) = ends.ends
        assert (end.child, end.reason) == ("a", "killed by signal 9 (SIGKILL)")
        assert end.uptime_s is not None


def test_the_history_outlives_a_child_that_its_supervisor_has_forgotten(journal):
    with running(worker("a", journal, restart="temporary"), worker("b", journal)) as tree:
        tree.node.cast("a", Do("exit"))
        deadline = time.monotonic() + 10
        while list(children_of(tree, "root")) != ["b"]:
            assert time.monotonic() < deadline
        ends = tree.call("root", GetEnds())
        assert isinstance(ends, Ends)
        assert [(end.child, end.reason) for end in ends.ends] == [("a", "exit code 3")]


def test_the_mailbox_of_a_process_reaches_its_supervisor(journal):
    with running(worker("a", journal, heartbeat_timeout_s=0.6)) as tree:

        async def wait() -> None:
            waiting = [asyncio.ensure_future(tree.node.call("a", Queue("x"), timeout_s=20)) for _ in range(5)]
            deadline = time.monotonic() + 10
            report: Any = None
            while report is None or report.children[0].mailbox != 5:
                report = await tree.node.call("root", GetChildren())
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            await tree.node.call("a", Release())
            await asyncio.gather(*waiting)

        tree.run(wait(), 30)


def test_an_operation_under_way_is_finished_whatever_becomes_of_who_asked(journal):
    with running(worker("a", journal, args={"terminate": "hang"}, shutdown=300)) as tree:
        pid = tree.ping("a").pid
        with pytest.raises(CallTimeout):
            tree.call("root", OperateChild("a", "restart"), timeout_s=0.1)
        assert tree.until_replaced("a", pid)
        assert psutil.pid_exists(tree.ping("a").pid)
        assert os.getpid() != pid


def test_the_end_of_a_process_ends_its_open_questions(journal):
    with running(worker("a", journal)) as tree:

        async def trace() -> None:
            tracing = asyncio.ensure_future(tree.node.call("a", TraceMailbox(1000, 50.0), timeout_s=55))
            await tree.node.call("a", Ping())
            tree.node.cast("a", Do("exit"))
            with pytest.raises(ProcessDown):
                await tracing

        tree.run(trace(), 20)
