"""Whatever dies, however it dies: what was promised happens, in the time that was promised.

The bounds are those of the promise, or a few times what a quiet machine takes: they must hold on a busy one, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import psutil
import pytest

from bitnexus.actors.runtime.deaths import Down, down
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.reasons import HUNG, NOPROC
from bitnexus.errors import ProcessDown
from bitnexus.supervision import launcher as launcher_module
from bitnexus.supervision.spec import SupervisorFlags
from tests.tree.actors import Do, Hold, Ping, Pong, Write
from tests.tree.running import Tree, gone_within, lines, running, supervisor, worker

#: From the signal to what another process hears of it. Promised: 100 ms; seen on a quiet machine: below 5 ms.
HEARD_WITHIN_S = 0.1
#: From an end to its reason, for which a supervisor is asked. Seen on a busy machine: below 100 ms for a SIGKILL.
WHY_WITHIN_S = 2.0
#: From the signal to the successor's first answer. Promised: 150 ms at p99; seen: 20 ms.
AGAIN_WITHIN_S = 2.0
#: How long whoever lost its parent may live.
ORPHANED_WITHIN_S = 1.0


def three(journal):
    """Two workers, one of them below a supervisor with a sibling."""
    return (worker("a", journal), supervisor("sub", worker("b", journal), worker("c", journal)))


def processes(tree: Tree, *names: str) -> list[psutil.Process]:
    return [psutil.Process(tree.pid(name)) for name in names]


# -- kill -9 ------------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_heard_of_and_replaced_and_nobody_else_is_touched(journal, log):
    with running(*three(journal)) as tree:
        before = {name: tree.pid(name) for name in ("root", "a", "sub", "b", "c")}
        heard: list[str] = []
        tree.call("b", Ping())
        tree.node.monitor("b", lambda _: heard.append("up"), lambda _: heard.append("down"))
        os.kill(before["b"], signal.SIGKILL)
        tree.until(lambda: heard[:2] == ["up", "down"], "DOWN", HEARD_WITHIN_S)
        tree.until(lambda: heard == ["up", "down", "up"], "a successor", AGAIN_WITHIN_S)
        after = {name: tree.ping(name).pid for name in ("a", "b", "c")}
        assert after["b"] != before["b"]
        assert {name: pid for name, pid in after.items() if name != "b"} == {"a": before["a"], "c": before["c"]}
        (report,) = log("supervisor_child_terminated")
        assert report["reason"] == "killed by signal 9 (SIGKILL)"


def test_somebody_who_has_no_connection_to_the_dead_hears_of_it_too(journal):
    with running(worker("a", journal)) as tree:
        heard: list[str] = []
        tree.node.monitor("a", None, lambda _: heard.append("down"))
        os.kill(tree.pid("a"), signal.SIGKILL)
        tree.until(lambda: heard == ["down"], "DOWN", HEARD_WITHIN_S)


def test_a_killed_supervisor_takes_its_children_with_it_and_all_come_back(journal):
    with running(*three(journal)) as tree:
        before = {name: tree.pid(name) for name in ("a", "sub", "b", "c")}
        below = processes(tree, "b", "c")
        os.kill(before["sub"], signal.SIGKILL)
        gone_within(below, ORPHANED_WITHIN_S)
        after = {name: tree.ping(name).pid for name in ("a", "b", "c")}
        assert after["a"] == before["a"]
        assert after["b"] != before["b"]
        assert after["c"] != before["c"]


@pytest.mark.parametrize("victim", ["root", "admin"])
def test_without_its_root_or_admin_the_whole_tree_ends(journal, victim):
    with running(*three(journal)) as tree:
        everybody = [
            psutil.Process(tree.launcher.admin_pid),
            *psutil.Process(tree.launcher.admin_pid).children(recursive=True),
        ]
        beneath = [process for process in everybody if process.pid in {tree.pid(name) for name in tree.node.names()}]
        assert len(beneath) == 5
        os.kill(tree.launcher.root_pid if victim == "root" else tree.launcher.admin_pid, signal.SIGKILL)
        gone_within(beneath, ORPHANED_WITHIN_S)
        started = time.monotonic()
        assert tree.await_end() == "noproc"
        assert time.monotonic() - started < ORPHANED_WITHIN_S


def test_a_killed_logger_is_replaced_and_nobody_minds(journal, log):
    with running(worker("a", journal)) as tree:
        admin = psutil.Process(tree.launcher.admin_pid)

        def loggers() -> set[int]:
            children = [child for child in admin.children() if child.status() != psutil.STATUS_ZOMBIE]
            return {child.pid for child in children} - {tree.launcher.root_pid}

        pid = tree.pid("a")
        (killed,) = before = loggers()
        os.kill(killed, signal.SIGKILL)
        tree.until(lambda: len(loggers()) == 1 and loggers() != before, "a new logger")
        assert tree.ping("a").pid == pid
        assert tree.stop() is True  # in order: nobody has died meanwhile
    assert not log("thespian")


# -- other ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raise", "raise in task", "raise in callback", "raise in monitor", "raise in reply"])
def test_an_exception_ends_the_process_and_its_traceback_reaches_the_supervisor(journal, log, how):
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        tree.node.cast("a", Do(how))
        tree.until_replaced("a", pid)
        (report,) = log("supervisor_child_terminated")
        assert report["reason"] == "ValueError: told to"
        assert "tests.tree.actors" in report["traceback"]
        assert "exception" in log("process_crashed")[0]
    # A crash is no occasion for terminate: what the process knew is not to be trusted.
    assert lines(journal)[:2] == ["init a", "init a"]


def test_after_its_crash_a_process_does_nothing_more(journal):
    with running(worker("a", journal)) as tree:
        tree.call("a", Write("before"))
        tree.node.cast("a", Do("raise"))
        for _ in range(10):
            tree.node.cast("a", Write("after"))  # in the same batch
        tree.ping("a")
        assert "after" not in lines(journal)


def test_the_message_that_ended_a_process_is_not_delivered_again(journal):
    async def ask_for_the_end() -> Message:
        return await tree.node.call("a", Do("raise"))

    with running(worker("a", journal)) as tree:
        with pytest.raises(ProcessDown):
            tree.run(ask_for_the_end())
        pid = tree.ping("a").pid
        tree.ping("a")
        assert tree.pid("a") == pid


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("exit", "exit code 3"),
        ("segfault", "killed by signal 11 (SIGSEGV)"),
        ("answer twice", "RuntimeError: a call was answered twice"),
    ],
)
def test_every_end_has_its_reason(journal, log, how, reason):
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        tree.node.request("a", Do(how), lambda _: None)
        tree.until_replaced("a", pid)
        assert [report["reason"] for report in log("supervisor_child_terminated")] == [reason]


def test_a_process_that_ends_itself_runs_terminate_and_ends_normally(journal, log):
    with running(worker("a", journal, restart="transient"), worker("b", journal)) as tree:
        tree.node.cast("a", Do("end"))
        tree.until(lambda: tree.node.whereis("a") is None, "the end")
        tree.until(lambda: "terminated a" in lines(journal), "terminate")
        assert log("supervisor_child_terminated") == []
        tree.ping("b")
        assert lines(journal) == ["init a", "init b", "terminate a: normal", "terminated a"]


# -- why, for whoever wants to know --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "ValueError: told to"),
        ("exit", "exit code 3"),
        ("segfault", "killed by signal 11 (SIGSEGV)"),
        ("end", "normal"),
        ("kill", "killed by signal 9 (SIGKILL)"),
    ],
)
def test_whoever_monitors_a_process_hears_once_and_why_it_ended(journal, how, reason):
    with running(*three(journal)) as tree:
        pid = tree.pid("b")
        waiting = [tree.launcher.loop.create_task(down(tree.node, "b")) for _ in range(3)]
        tree.ping("b")
        if how == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            tree.node.request("b", Do(how), lambda _: None)
        heard = tree.run(asyncio.gather(*waiting), WHY_WITHIN_S)
        assert {(each.name, each.pid, str(each.reason)) for each in heard} == {("b", pid, reason)}
        if how == "raise":
            assert "tests.tree.actors" in heard[0].reason.traceback


def test_who_monitors_what_is_not_there_hears_at_once(journal):
    with running(worker("a", journal)) as tree:
        assert tree.run(down(tree.node, "b"), HEARD_WITHIN_S) == Down("b", 0, NOPROC)


def test_a_process_that_is_killed_because_it_hangs_ended_for_that_reason(journal):
    with running(worker("a", journal, heartbeat_timeout_s=0.5)) as tree:
        pid = tree.pid("a")
        waiting = tree.launcher.loop.create_task(down(tree.node, "a"))
        os.kill(pid, signal.SIGSTOP)
        assert tree.run(waiting) == Down("a", pid, HUNG)


def test_nobody_knows_why_a_process_ended_whose_supervisor_died_with_it(journal):
    with running(*three(journal)) as tree:
        pid = tree.pid("b")
        waiting = tree.launcher.loop.create_task(down(tree.node, "b"))
        tree.ping("b")
        os.kill(tree.pid("sub"), signal.SIGKILL)
        assert tree.run(waiting) == Down("b", pid, NOPROC)


# -- calls across deaths ------------------------------------------------------------------------------------------


def test_repeated_calls_are_each_answered_once_however_often_the_process_dies(journal):
    calls, deaths = 400, 6
    answers: list[int] = []

    async def one(number: int) -> None:
        answer = await tree.node.call("b", Ping(number), retry=True, timeout_s=30)
        assert isinstance(answer, Pong)
        answers.append(answer.number)

    async def storm() -> None:
        calling = [asyncio.ensure_future(one(number)) for number in range(calls // 2)]
        for _ in range(deaths):
            info = tree.node.whereis("b")
            if info is not None:
                with contextlib.suppress(ProcessLookupError):  # buried, but not heard of yet: the machine is busy
                    os.kill(info.pid, signal.SIGKILL)
            calling += [asyncio.ensure_future(one(number)) for number in range(len(calling), len(calling) + 30)]
            await asyncio.sleep(0.03)
        calling += [asyncio.ensure_future(one(number)) for number in range(len(calling), calls)]
        await asyncio.gather(*calling)

    with running(*three(journal)) as tree:
        tree.run(storm(), 40)
        assert sorted(answers) == list(range(calls))
        assert tree.node.in_flight == 0


def test_calls_that_are_held_by_who_dies_are_repeated_to_its_successor_until_their_deadline(journal):
    with running(worker("a", journal)) as tree:
        call = asyncio.ensure_future(tree.node.call("a", Hold(), retry=True, timeout_s=1), loop=tree.launcher.loop)
        tree.ping("a")
        os.kill(tree.pid("a"), signal.SIGKILL)
        tree.ping("a")
        assert not call.done()
        with pytest.raises(Exception, match="did not answer in time"):
            tree.run(call, 5)


# -- limits -------------------------------------------------------------------------------------------------------


def test_a_supervisor_gives_up_beyond_its_intensity_and_its_parent_decides(journal, log):
    flags = SupervisorFlags(intensity=2, period_s=60)
    with running(worker("a", journal), supervisor("sub", worker("b", journal), flags=flags)) as tree:
        a, sub, b = tree.pid("a"), tree.pid("sub"), tree.pid("b")
        for _ in range(3):
            os.kill(b, signal.SIGKILL)
            b = tree.until_replaced("b", b)
        assert tree.pid("sub") != sub
        assert tree.ping("b").pid == b
        assert tree.ping("a").pid == a
        (gave_up,) = log("supervisor_shutdown")
        assert (gave_up["process"], gave_up["context"]) == ("sub", "reached_max_restart_intensity")


def test_a_root_that_gives_up_ends_the_tree_and_says_why(journal):
    with running(*three(journal), flags=SupervisorFlags(intensity=0)) as tree:
        below = processes(tree, "root", "a", "sub", "b", "c")
        os.kill(tree.pid("a"), signal.SIGKILL)
        assert tree.await_end() == "shutdown"
        gone_within(below, ORPHANED_WITHIN_S)
        # It gave up in order: the others were asked, in reverse.
        assert lines(journal)[3:] == ["terminate c: shutdown", "terminated c", "terminate b: shutdown", "terminated b"]


@pytest.mark.parametrize("how", ["stopped", "blocked"])
def test_a_child_that_hangs_is_killed_and_replaced(journal, log, how):
    with running(worker("a", journal, heartbeat_timeout_s=1.2)) as tree:
        pid = tree.pid("a")
        if how == "stopped":
            os.kill(pid, signal.SIGSTOP)
        else:
            tree.node.cast("a", Do("block"))
        assert tree.ping("a").pid != pid
        (report,) = log("supervisor_child_terminated")
        assert report["reason"] == "hung"


def test_a_root_that_hangs_is_killed_and_the_tree_with_it(journal, monkeypatch):
    monkeypatch.setattr(launcher_module, "ROOT_HEARTBEAT_TIMEOUT_S", 1.2)
    with running(*three(journal)) as tree:
        below = processes(tree, "a", "sub", "b", "c")
        os.kill(tree.launcher.root_pid, signal.SIGSTOP)
        assert tree.await_end() == "hung"
        gone_within(below, ORPHANED_WITHIN_S)


def test_a_supervisor_that_was_stopped_itself_does_not_take_its_children_for_hung(journal, log):
    child = worker("b", journal, heartbeat_timeout_s=1.2)
    with running(supervisor("sub", child, heartbeat_timeout_s=None)) as tree:
        pid, sub = tree.pid("b"), psutil.Process(tree.pid("sub"))
        sub.suspend()
        tree.run(asyncio.sleep(2.5))  # what is tested is that time goes by
        sub.resume()
        tree.run(asyncio.sleep(1.5))
        assert tree.ping("b").pid == pid
        assert log("child_hung") == []
