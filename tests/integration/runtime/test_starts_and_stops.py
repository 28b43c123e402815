"""Trees start in order or not at all, and stop in order or are stopped; nothing of them is ever left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bitnexus.config import use
from bitnexus.config.node_file import read_published
from bitnexus.errors import InvalidSettings, NoProcess
from bitnexus.supervision import supervisor as supervisor_module
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import SpecError, SupervisorFlags
from tests.tree.running import assert_gone, gone_within, lines, running, supervisor, worker

ROOT = Path(__file__).parents[3]


def tree_of(journal):
    return (worker("a", journal), supervisor("sub", worker("b", journal), worker("c", journal)), worker("d", journal))


def stop_of(*names: str, reason: str = "shutdown") -> list[str]:
    return [line for name in names for line in (f"terminate {name}: {reason}", f"terminated {name}")]


# -- in order -----------------------------------------------------------------------------------------------------


def test_a_tree_starts_in_order_and_stops_in_the_reverse(journal):
    with running(*tree_of(journal)) as tree:
        assert lines(journal) == ["init a", "init b", "init c", "init d"]
        assert tree.node.names() == ["a", "b", "c", "d", "root", "sub"]
        assert tree.stop()
        assert_gone(tree.processes)
        assert lines(journal)[4:] == stop_of("d", "c", "b", "a")


def test_two_trees_live_one_after_another_in_one_process(journal):
    for _ in range(2):
        with running(worker("a", journal)) as tree:
            tree.ping("a")


def test_a_child_that_does_not_stop_in_its_time_is_killed_and_the_others_are_stopped(journal, log):
    hanging = worker("b", journal, args={"terminate": "hang"}, shutdown=200)
    with running(worker("a", journal), hanging, worker("c", journal)) as tree:
        started = time.monotonic()
        assert tree.stop()
        assert 0.2 <= time.monotonic() - started < 2
    assert lines(journal)[3:] == [*stop_of("c"), "terminate b: shutdown", *stop_of("a")]
    (report,) = log("supervisor_shutdown_error")
    assert (report["child"], report["reason"]) == ("b", "killed by signal 9 (SIGKILL)")


def test_a_child_whose_terminate_raises_ends_with_that_reason_and_the_others_are_stopped(journal, log):
    raising = worker("b", journal, args={"terminate": "raise"})
    with running(worker("a", journal), raising) as tree:
        assert tree.stop()
    assert lines(journal)[-2:] == stop_of("a")
    (report,) = log("supervisor_shutdown_error")
    assert report["reason"] == "ValueError: cannot stop"


def test_a_child_with_brutal_kill_is_not_asked(journal):
    with running(worker("a", journal, shutdown="brutal_kill")) as tree:
        assert tree.stop()
    assert lines(journal) == ["init a"]


def test_a_child_that_is_itself_stopped_by_a_signal_does_not_keep_the_tree_from_stopping(journal):
    with running(worker("a", journal, shutdown=200), worker("b", journal)) as tree:
        os.kill(tree.pid("a"), signal.SIGSTOP)
        assert tree.stop()


def test_what_does_not_stop_at_all_is_killed_by_the_launcher(journal):
    with running(worker("a", journal, args={"terminate": "hang"}, shutdown="infinity")) as tree:
        assert not tree.stop(0.3)
        assert_gone(tree.processes)


def test_a_tree_that_died_can_be_stopped(journal):
    with running(worker("a", journal)) as tree:
        os.kill(tree.launcher.admin_pid, signal.SIGKILL)
        tree.await_end()
        assert tree.stop()
        assert tree.stop()


# -- starts that fail ---------------------------------------------------------------------------------------------


@contextmanager
def nothing_is_left() -> Iterator[None]:
    """Whoever was forked works in the test's own directory, whoever their parent has become."""
    yield
    gone_within([each for each in psutil.process_iter() if each.pid != os.getpid() and works_here(each)], 2.0)


def works_here(process: psutil.Process) -> bool:
    try:
        return process.cwd() == str(Path.cwd())
    except psutil.Error:  # gone meanwhile, or not ours to look at
        return False


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"init": "raise"}, "failed to start child 'b': ValueError: cannot start"),
        ({"init": "die"}, r"failed to start child 'b': killed by signal 9 \(SIGKILL\)"),
        ({"init": "exit"}, "failed to start child 'b': exit code 3"),
    ],
)
def test_a_child_that_does_not_start_is_named_with_its_reason_and_nothing_is_left(journal, args, message):
    launcher = Launcher("root", SupervisorFlags(), [worker("a", journal), worker("b", journal, args=args)])
    with nothing_is_left(), pytest.raises(NoProcess, match=message):
        launcher.start()
    assert lines(journal)[-2:] == stop_of("a")


def test_a_child_deep_in_the_tree_that_does_not_start_is_named_too(journal):
    below = supervisor("sub", worker("b", journal), worker("c", journal, args={"init": "raise"}))
    launcher = Launcher("root", SupervisorFlags(), [worker("a", journal), below])
    message = "failed to start child 'sub': failed to start child 'c': ValueError: cannot start"
    with nothing_is_left(), pytest.raises(NoProcess, match=message):
        launcher.start()
    assert lines(journal) == ["init a", "init b", "init c", *stop_of("b", "a")]


def test_a_child_whose_start_takes_too_long_is_killed(journal, monkeypatch):
    monkeypatch.setattr(supervisor_module, "START_TIMEOUT_S", 0.5)
    launcher = Launcher("root", SupervisorFlags(), [worker("a", journal, args={"init": "wait"})])
    with nothing_is_left(), pytest.raises(NoProcess, match="failed to start child 'a': hung"):
        launcher.start()


def test_a_child_that_hangs_while_it_starts_is_killed_as_soon_as_one_that_is_up(journal, log):
    with running(worker("a", journal, args={"init": "hang again"}, heartbeat_timeout_s=1.2)) as tree:
        pid, begun_at = tree.pid("a"), time.monotonic()
        os.kill(pid, signal.SIGKILL)
        tree.until_replaced("a", pid)
        assert time.monotonic() - begun_at < supervisor_module.START_TIMEOUT_S / 3
        assert [hung["child"] for hung in log("child_hung")] == ["a"]
    assert lines(journal).count("init a") == 3


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        ("NoSuchClass", {}, "invalid_start: process = 'tests.tree.actors:NoSuchClass'"),
        ("Nobody", {}, "invalid_start: process = 'tests.tree.actors:Nobody'"),  # a class, but no process
        ("Worker", {"secret": lambda: None}, "invalid_start: args = 'cannot be pickled'"),
    ],
)
def test_a_spec_that_cannot_be_started_is_an_error_before_anything_is_forked(journal, kind, args, message):
    below = supervisor("sub", worker("a", journal, kind=kind, args=args))
    with nothing_is_left(), pytest.raises(SpecError, match=message):
        Launcher("root", SupervisorFlags(), [below]).start()


def test_a_restart_that_fails_is_tried_again(journal):
    with running(worker("a", journal)) as tree:
        Path(f"{journal}.a").unlink(missing_ok=True)
        pid = tree.pid("a")
        os.kill(pid, signal.SIGKILL)
        tree.until_replaced("a", pid)
    with pytest.raises(NoProcess, match="cannot start yet"):
        Launcher("root", SupervisorFlags(), [worker("b", journal, args={"init": "fail once"})]).start()
    with running(worker("b", journal, args={"init": "fail once"})) as tree:
        Path(f"{journal}.b").unlink()
        pid = tree.pid("b")
        os.kill(pid, signal.SIGKILL)
        tree.until_replaced("b", pid)
    assert lines(journal).count("init b") == 4


def test_an_admin_port_that_is_taken_is_a_clear_error(journal, settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        use(settings.model_copy(update={"node_port": taken.getsockname()[1]}))
        with nothing_is_left(), pytest.raises(InvalidSettings, match="BITNEXUS_NODE_PORT"):
            Launcher("root", SupervisorFlags(), [worker("a", journal)]).start()


def test_the_root_listens_where_it_is_told_to_and_where_the_file_says(journal, settings):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    use(settings.model_copy(update={"node_port": port}))
    with running(worker("a", journal)) as tree:
        listening = [each.laddr.port for each in psutil.Process(tree.launcher.root_pid).net_connections("tcp4")]
        assert port in listening
        published = read_published(settings.data_dir)
        assert published is not None
        assert (published.address, published.pid) == (f"127.0.0.1:{port}", tree.launcher.root_pid)
    assert read_published(settings.data_dir) is None


# -- signals ------------------------------------------------------------------------------------------------------


def test_sigterm_ends_a_process_through_terminate_and_counts_as_shutdown(journal, log):
    with running(worker("a", journal), worker("b", journal, restart="transient")) as tree:
        pid = tree.pid("a")
        os.kill(pid, signal.SIGTERM)
        tree.until_replaced("a", pid)
        (report,) = log("supervisor_child_terminated")
        assert report["reason"] == "shutdown: exit request"
        assert lines(journal)[2:4] == stop_of("a", reason="shutdown: exit request")
        os.kill(tree.pid("b"), signal.SIGTERM)
        tree.until(lambda: tree.node.whereis("b") is None, "the end of b")
        tree.until(lambda: "terminated b" in lines(journal), "terminate")
        tree.ping("a")
        assert tree.node.whereis("b") is None  # as after any normal end of a transient child


def test_sigterm_to_a_supervisor_stops_its_children_in_order(journal):
    with running(*tree_of(journal)) as tree:
        sub = tree.pid("sub")
        os.kill(sub, signal.SIGTERM)
        tree.until_replaced("sub", sub)
        tree.until(lambda: lines(journal).count("init c") == 2, "its children are back")
        assert lines(journal)[4:] == [*stop_of("c", "b"), "init b", "init c"]


def test_sigterm_while_a_process_stops_does_not_cut_terminate_short(journal):
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        for _ in range(20):
            os.kill(pid, signal.SIGTERM)
        tree.until_replaced("a", pid)
        assert lines(journal)[1:3] == stop_of("a", reason="shutdown: exit request")


def test_sigint_does_not_hit_actors(journal):
    with running(*tree_of(journal)) as tree:
        pids = {name: tree.pid(name) for name in tree.node.names()}
        for pid in pids.values():
            assert os.getpgid(pid) != os.getpgrp()  # Ctrl-C goes to the group in the foreground: not to them
            os.kill(pid, signal.SIGINT)
        for name in ("a", "b", "c", "d"):
            assert tree.ping(name).pid == pids[name]


# -- the launcher -------------------------------------------------------------------------------------------------


@contextmanager
def program(directory: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.tree", str(directory)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    everybody: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline() or "{}")
        assert pids, (directory / "log").read_text()
        admin = psutil.Process(pids["admin"])
        everybody = [admin, *admin.children(recursive=True)]
        with process.stdout:
            yield process, pids
        gone_within(everybody, 5.0)
    finally:
        process.kill()
        process.wait()
        for each in everybody:
            if each.is_running():
                each.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_foreground_group_stops_the_tree_in_order(tmp_path, number):
    with program(tmp_path) as (process, _):
        os.killpg(process.pid, number)
        assert process.wait(10) == 0
        assert lines(tmp_path / "journal")[3:] == stop_of("c", "b", "a")


def test_a_launcher_that_is_killed_leaves_a_tree_that_stops_in_order_by_itself(tmp_path):
    with program(tmp_path) as (process, pids):
        everybody = [psutil.Process(pid) for pid in pids.values()]
        process.kill()
        process.wait()
        gone_within(everybody, 5.0)
        assert lines(tmp_path / "journal")[3:] == stop_of("c", "b", "a")


def test_a_launcher_and_a_root_that_are_killed_together_leave_nothing(tmp_path):
    with program(tmp_path) as (process, pids):
        everybody = [psutil.Process(pid) for pid in pids.values()]
        process.kill()
        os.kill(pids["root"], signal.SIGKILL)
        process.wait()
        gone_within(everybody, 5.0)
