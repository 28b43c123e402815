"""What processes log arrives whole and in order, whatever becomes of them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest
import structlog
from thespian.system.messages.multiproc import EndpointConnected

from bitnexus.actors.runtime import envelopes
from bitnexus.config.line_writer import LineWriter
from tests.tree.actors import Say
from tests.tree.running import running, worker


@pytest.mark.parametrize("then", ["raise", "kill", "exit", "segfault"])
def test_the_last_words_of_a_process_arrive_however_it_ends(journal, log, then):
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        tree.node.cast("a", Say(50, 200, then))
        tree.until_replaced("a", pid)
        said = [line["number"] for line in log("said") if line["pid"] == pid]
        assert said == list(range(50))
        assert len(log("process_crashed")) == (then == "raise")


def test_what_thespian_notes_comes_to_our_log_and_to_no_file(journal, log, tmp_path, monkeypatch):
    noted = tmp_path / "thespian.log"
    monkeypatch.setenv("THESPLOG_FILE", str(noted))
    structlog.configure(  # as the service does, before anything is forked
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=lambda *_: LineWriter(2),
    )
    with running(worker("a", journal)) as tree:
        ours = tree.launcher.transport
        # The admin has no such child, and says so.
        unknown = envelopes.encode(envelopes.pickled_sender(ours.myAddress), EndpointConnected(99))
        to_admin = ours.peers.connection_to(ours.address_behind(ours._adminAddr))
        to_admin.send_envelope(unknown, lambda _: None)
        tree.until(lambda: log("thespian"), "Thespian's note")
    structlog.reset_defaults()
    assert not noted.exists()


PROGRAM = """
    import os, sys
    from bitnexus.config.line_writer import LineWriter
    for name in "abcdefgh":
        if os.fork() == 0:
            writer = LineWriter(2)
            for number in range(40):
                writer.msg(f"{name}{number:03}" + name * (65536 if number % 2 else 10))
            assert writer.lost == 0
            os._exit(0)
    for _ in range(8):
        assert os.wait()[1] == 0
"""


def test_lines_longer_than_a_pipe_of_many_processes_do_not_mix(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    numbers = defaultdict(list)
    for line in done.stderr.decode().splitlines():
        name, number, rest = line[0], int(line[1:4]), line[4:]
        assert rest == name * (65536 if number % 2 else 10)
        numbers[name].append(number)
    assert numbers == {name: list(range(40)) for name in "abcdefgh"}


def test_a_writer_that_was_stopped_in_the_middle_of_a_line_holds_nobody_up_for_long(tmp_path):
    program = """
        import fcntl, os, signal, time
        from bitnexus.config.line_writer import LineWriter
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            fcntl.lockf(2, fcntl.LOCK_EX)
            os.write(writer, b"x")
            os.kill(os.getpid(), signal.SIGSTOP)
        os.read(reader, 1)
        LineWriter(2).msg("not held up")
        os.kill(child, signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == b"not held up\n"
