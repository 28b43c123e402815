"""What a process may take, and for how long: silence, memory, queues, the time of its end."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
import pytest

from bitnexus.actors.runtime import lanes, process
from bitnexus.actors.runtime.message import GetNames, Names
from bitnexus.errors import CallTimeout, Overloaded, ProcessDown
from tests.tree.actors import Do, Hold, Ping, Queue, Release, Write
from tests.tree.running import gone_within, lines, running, supervisor, worker

#: Three heartbeats, the step of the watch, and what a busy machine may add. The promise is the first.
SILENT_WITHIN_S = 3.0 + 1.5


# -- silence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "blocked"])
def test_callers_of_a_silent_process_are_answered_within_three_heartbeats(journal, how):
    async def call() -> float:
        started = time.monotonic()
        with pytest.raises(ProcessDown):
            await tree.node.call("a", Hold(), timeout_s=60)
        return time.monotonic() - started

    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        if how == "stopped":
            os.kill(pid, signal.SIGSTOP)
        else:
            tree.node.cast("a", Do("block"))
        assert tree.run(call()) < SILENT_WITHIN_S
        assert tree.ping("a").pid != pid


def test_a_caller_sees_by_itself_that_a_process_is_silent(journal):
    """Its supervisor cannot act: it is stopped with it."""
    with running(supervisor("sub", worker("a", journal), heartbeat_timeout_s=None)) as tree:
        child, sub = psutil.Process(tree.ping("a").pid), psutil.Process(tree.pid("sub"))
        sub.suspend()
        child.suspend()
        started = time.monotonic()
        with pytest.raises(ProcessDown, match="no sign of life"):
            tree.call("a", Ping(), timeout_s=60)
        assert time.monotonic() - started < SILENT_WITHIN_S + 1
        child.resume()
        sub.resume()
        assert tree.ping("a").pid == child.pid


def test_a_process_that_may_be_silent_is_waited_for(journal):
    with running(worker("a", journal, heartbeat_timeout_s=None)) as tree:
        child = psutil.Process(tree.ping("a").pid)
        child.suspend()
        with pytest.raises(CallTimeout):
            tree.call("a", Ping(), timeout_s=4.5)
        child.resume()
        assert tree.ping("a").pid == child.pid


def test_nobody_outlives_a_supervisor_by_a_second_at_any_depth(journal):
    deepest = supervisor("three", worker("a", journal), worker("b", journal))
    with running(supervisor("one", supervisor("two", deepest))) as tree:
        below = [psutil.Process(tree.pid(name)) for name in ("two", "three", "a", "b")]
        os.kill(tree.pid("one"), signal.SIGKILL)
        assert gone_within(below, 1.0) < 1.0
        assert tree.ping("a").pid not in {each.pid for each in below}


# -- queues -------------------------------------------------------------------------------------------------------


def test_a_flooded_process_is_still_supervised(journal, log, monkeypatch):
    monkeypatch.setattr(process, "MAX_MAILBOX", 50)
    refused = {"before it left": 0, "by its mailbox": 0}

    def answered(result: object) -> None:
        refused["by its mailbox"] += isinstance(result, Overloaded)

    async def flood() -> None:
        while min(refused.values()) < 100:
            try:
                tree.node.request("a", Hold(), answered, timeout_s=60)
            except Overloaded:
                refused["before it left"] += 1
            if tree.node.in_flight % 100 == 0:
                await asyncio.sleep(0)

    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        monkeypatch.setattr(lanes, "MAX_QUEUED_ITEMS", 200)  # of this process alone: not for the answers
        tree.run(flood())
        names = tree.call("root", GetNames())
        assert isinstance(names, Names)
        tree.run(asyncio.sleep(4))  # longer than it may be silent: its heartbeats pass
        tree.run(flood())
        assert tree.pid("a") == pid
        assert log("child_hung") == []
        started = time.monotonic()
        assert tree.stop()  # it takes the word although its mailbox is full
        assert time.monotonic() - started < 2
        assert lines(journal)[-1] == "terminated a"


def test_casts_over_the_bound_are_refused_and_counted(journal, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_QUEUED_ITEMS", 10)
    with running(worker("a", journal)) as tree:
        tree.ping("a")
        taken = [tree.node.cast("a", Write(str(number))) for number in range(15)]
        tree.ping("a")
        assert taken == [True] * 10 + [False] * 5
        assert lines(journal)[1:] == [str(number) for number in range(10)]
        assert tree.node.losses.total == 5


# -- what nobody waits for ----------------------------------------------------------------------------------------


def test_a_queued_call_that_is_cancelled_or_late_is_not_begun(journal):
    async def queue() -> None:
        kept, cancelled = (asyncio.ensure_future(tree.node.call("a", Queue(text))) for text in ("kept", "cancelled"))
        late = asyncio.ensure_future(tree.node.call("a", Queue("late"), timeout_s=0.1))
        with pytest.raises(CallTimeout):
            await late
        cancelled.cancel()
        await asyncio.wait({cancelled})
        await tree.node.call("a", Release())
        await kept

    with running(worker("a", journal)) as tree:
        tree.run(queue())
        assert lines(journal) == ["init a", "began kept"]
        assert tree.node.in_flight == 0


def test_what_waited_in_the_socket_of_a_stopped_process_and_is_not_wanted_any_more_is_not_begun(journal):
    with running(worker("a", journal, heartbeat_timeout_s=None)) as tree:
        child = psutil.Process(tree.ping("a").pid)
        child.suspend()
        with pytest.raises(CallTimeout):
            tree.call("a", Write("late"), timeout_s=0.2)
        child.resume()
        tree.ping("a")
        assert lines(journal) == ["init a"]


# -- memory and the end -------------------------------------------------------------------------------------------


def test_a_child_that_outgrows_its_memory_is_replaced_in_order(journal, log):
    with running(worker("a", journal, max_rss=150_000_000)) as tree:
        pid = tree.pid("a")
        tree.node.cast("a", Do("grow"))
        assert tree.until_replaced("a", pid) != pid
        assert "terminated a" in lines(journal)
        (report,) = log("supervisor_child_terminated")
        assert report["reason"] == "max_rss"


def test_a_sigterm_of_somebody_else_has_a_time_limit(journal, log):
    with running(worker("a", journal, args={"terminate": "hang"}, shutdown=200)) as tree:
        pid = tree.pid("a")
        os.kill(pid, signal.SIGTERM)
        tree.until_replaced("a", pid)
        assert log("terminate_failed")[0]["process"] == "a"


def test_processes_are_told_apart_by_their_titles(journal):
    with running(worker("a", journal)) as tree:
        assert psutil.Process(tree.pid("a")).cmdline()[0].split("\0")[0] == "bitnexus: a"
