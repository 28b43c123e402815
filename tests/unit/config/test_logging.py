import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from collections import Counter
from datetime import UTC, datetime

import pytest

from bitnexus.config.line_writer import LineWriter
from bitnexus.config.logging import render_json
from bitnexus.config.redaction import FILTERED, LONGEST_TEXT, bounded, filtered

PREAMBLE = """
import logging, os, sys, warnings
import structlog
from structlog.contextvars import bound_contextvars
from bitnexus.config import load
from bitnexus.config.logging import configure
log = structlog.get_logger()
def start(process="ledger", **given):
    configure(load(data_dir=os.environ["DATA"], **given), process)
"""


@pytest.fixture
def environment(tmp_path):
    return {"PATH": os.environ["PATH"], "DATA": str(tmp_path / "data"), "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def written(environment, tmp_path):
    """Run a program in a process of its own; what it wrote to stderr, as text."""

    def run(program, *, code=0, **more):
        source = PREAMBLE + textwrap.dedent(program)
        done = subprocess.run(
            [sys.executable, "-c", source],
            env=environment | more,
            cwd=tmp_path,
            capture_output=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        assert done.stdout == b""
        return done.stderr.decode()

    return run


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def clean(**event):
    return filtered(None, "info", event)


def test_a_line_tells_when_which_process_and_in_which_request(written):
    before = datetime.now(UTC)
    (line,) = records(
        written("""
        start("http-0")
        with bound_contextvars(request_id="r-1", traceparent="00-ab-cd-01"):
            log.info("transfer posted", amount=5)
        """)
    )
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)
    assert line["timestamp"].endswith("Z")
    assert isinstance(line["pid"], int)
    assert (
        line.items()
        >= {
            "level": "info",
            "event": "transfer posted",
            "amount": 5,
            "process": "http-0",
            "request_id": "r-1",
            "traceparent": "00-ab-cd-01",
        }.items()
    )


def test_lines_of_libraries_look_like_ours_and_carry_the_request(written):
    lines = records(
        written("""
        start()
        with bound_contextvars(request_id="r-2"):
            for name in ("aiohttp.server", "asyncpg", "alembic.runtime", "Thespian.Admin", "asyncio"):
                logging.getLogger(name).warning("from %s", name)
        warnings.warn("careful")
        logging.getLogger("aiohttp.access").info("not this one")
        """)
    )
    assert [line["logger"] for line in lines] == [
        "aiohttp.server",
        "asyncpg",
        "alembic.runtime",
        "Thespian.Admin",
        "asyncio",
        "py.warnings",
    ]
    assert all(line["request_id"] == "r-2" and line["process"] == "ledger" for line in lines[:5])
    assert lines[1]["event"] == "from asyncpg"
    assert "careful" in lines[5]["event"]


def test_lines_below_the_level_are_not_written(written):
    program = """
        start(log_level="warning")
        log.info("a")
        logging.getLogger("x").info("b")
        log.warning("c")
        logging.getLogger("x").warning("d")
        """
    assert [line["event"] for line in records(written(program))] == ["c", "d"]


def test_an_exception_is_one_line_without_the_values_of_its_variables(written):
    lines = records(
        written(
            """
        start()
        def check(guess):
            raise RuntimeError("no")
        for report in (log, logging.getLogger("library")):
            try:
                check("hunter" + str(2))
            except RuntimeError:
                report.exception("failed")
        check("hunter" + str(2))
        """,
            code=1,
        )
    )
    assert [line["event"] for line in lines] == ["failed", "failed", "uncaught_exception"]
    for line in lines:
        assert line["exception"].splitlines()[-1] == "RuntimeError: no"
        assert "hunter2" not in line["exception"]


def test_what_cannot_be_formatted_is_reported_and_ends_nobody(written):
    lines = records(
        written("""
        start()
        class Broken:
            def __repr__(self): raise ValueError
        log.info("one", value=Broken(), large=2**70, surrogate="\\ud800", nothing=float("nan"))
        logging.getLogger("x").info("%d", "two")
        log.info("three")
        """)
    )
    assert [line["event"] for line in lines] == ["one", "log record cannot be formatted", "three"]
    assert lines[0]["large"] == 2**70
    assert lines[0]["nothing"] == "nan"


def test_lines_of_forked_processes_do_not_mix_and_name_their_process(written):
    lines = records(
        written("""
        start("root")
        children = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                start(f"partition-{number}")
                for count in range(400):
                    log.info("x" * (count * 7), number=count)
                    logging.getLogger("library").warning("y" * count)
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        log.info("done")
        """)
    )
    assert Counter(line["process"] for line in lines) == {f"partition-{n}": 800 for n in range(4)} | {"root": 1}
    assert len({line["pid"] for line in lines}) == 5
    for name in ("partition-0", "partition-3"):
        assert [line["number"] for line in lines if line["process"] == name and "number" in line] == list(range(400))


def test_the_root_that_thespian_puts_in_place_is_taken_back(written):
    lines = records(
        written("""
        start("parent")
        early = logging.getLogger("early")
        logging.root = logging.Logger.root = logging.RootLogger(logging.ERROR)
        logging.Logger.manager = logging.Manager(logging.root)
        start("child")
        early.info("a")
        logging.getLogger("late").info("b")
        """)
    )
    assert [(line["event"], line["process"]) for line in lines] == [("a", "child"), ("b", "child")]


@pytest.mark.parametrize(
    ("given", "variables", "colours"),
    [('"auto"', {}, True), ('"auto"', {"NO_COLOR": "1"}, False), ('"json"', {}, None)],
)
def test_a_terminal_gets_coloured_lines_unless_told_otherwise(environment, tmp_path, given, variables, colours):
    master, slave = pty.openpty()
    program = PREAMBLE + f"start(log_format={given})\nlog.info('hello', n=1)\n"
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment | variables,
            cwd=tmp_path,
            stderr=slave,
            timeout=50,
            check=True,
        )
        text = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)
    if colours is None:
        assert json.loads(text)["event"] == "hello"
    else:
        assert ("\x1b[" in text) is colours
        assert "process=ledger" in re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_console_format_can_be_asked_for_without_a_terminal(written):
    text = written("start(log_format='console')\nlog.info('hello', request_id='r-9')")
    assert text.count("\n") == 1
    assert "hello" in text
    assert "request_id=r-9" in text
    assert "\x1b" not in text


def test_settings_in_a_log_line_show_no_secret(written):
    text = written("""
        start(secret_key_base="tell-nobody-1" * 4)
        settings = load(cookie="tell-nobody-2" * 4, database_url="postgresql://u:tell-nobody-3@h/d",
                        secret_key_base="tell-nobody-1" * 4)
        log.info("starting", settings=settings, text=str(settings), url=settings.database_url)
        logging.getLogger("x").info("using %s", settings.database_url)
        """)
    assert "tell-nobody" not in text
    assert len(records(text)) == 2


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "user_password",
        "SECRET_KEY_BASE",
        "access_token",
        "refreshToken",
        "Cookie",
        "set-cookie",
        "Authorization",
        "api_key",
        "private_key",
        "database_url",
    ],
)
def test_values_are_filtered_by_the_name_of_their_key_at_any_depth(key):
    event = clean(event="x", **{key: "hunter2"}, headers={key: "hunter2"}, items=[{"deep": {key: ["hunter2"]}}])
    assert "hunter2" not in repr(event)
    assert event[key] == FILTERED


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2.x.y",
        "password=hunter2",
        "{'access_token': 'hunter2'}",
        "GET /socket/websocket?token=hunter2&vsn=2.0.0",
        "postgresql://u:hunter2@h/d",
        "SECRET_KEY_BASE_OLD=0123456789abcdef,hunter2-hunter2-hunter2",
    ],
)
def test_secrets_formatted_into_a_text_are_filtered(text):
    assert "hunter2" not in clean(event=text)["event"]


def test_what_is_no_secret_is_left_alone():
    event = {"event": "token refused", "account": "a", "amount": 5, "ok": True, "ratio": 0.5, "none": None}
    assert clean(**event) == event


def test_deep_and_endless_values_are_bounded():
    endless: dict[str, object] = {}
    endless["again"] = endless
    event = bounded(None, "info", {"event": "h" + "x" * 10**6 + "t"})
    assert len(event["event"]) < LONGEST_TEXT + 100
    assert event["event"][0] + event["event"][-1] == "ht"
    assert len(render_json(None, "info", clean(event="x", endless=endless, many=list(range(10**5))))) < 5000


def test_a_reader_that_went_away_ends_nobody_and_the_loss_is_told():
    reader, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    os.close(reader)
    writer.msg("nobody reads this")
    assert writer.lost == 1
    reader, replacement = os.pipe()
    os.dup2(replacement, descriptor)
    os.close(replacement)
    writer.msg('{"event":"back"}')
    os.close(descriptor)
    with os.fdopen(reader) as lines:
        assert [json.loads(line)["event"] for line in lines] == ["log lines lost", "back"]
    assert writer.lost == 0


def test_a_full_non_blocking_pipe_loses_lines_instead_of_raising(monkeypatch):
    monkeypatch.setattr("bitnexus.config.line_writer.LONGEST_WAIT_MS", 1)
    reader, descriptor = os.pipe()
    os.set_blocking(descriptor, False)
    writer = LineWriter(descriptor)
    for _ in range(100):
        writer.msg("x" * 4000)
    assert writer.lost > 0
    os.close(reader)
    os.close(descriptor)


def test_who_follows_the_lines_gets_them_after_the_filter_until_it_is_enough(written):
    found = written(
        """
        from bitnexus.config.logging import tap
        start("tapped", log_format="json")
        lines = []
        tap(lines.append)
        log.info("first", password="hunter2hunter2")
        logging.getLogger("y").warning("second token=abcdefgh")
        tap(None)
        log.info("third")
        assert len(lines) == 2, lines
        print("\\n".join(lines), file=sys.stderr)
        """
    )
    lines = [json.loads(line) for line in found.splitlines()]
    first, second = "first", f"second token={FILTERED}"
    assert [line["event"] for line in lines] == [first, second, "third", first, second]
    assert lines[3]["password"] == FILTERED
    assert lines[3] == lines[0]
    assert lines[4] == lines[1]
