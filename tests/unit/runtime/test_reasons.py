import msgspec
import pytest

from bitnexus.actors.runtime import reasons as r


def crash(depth: int) -> None:
    if depth:
        crash(depth - 1)
    raise ValueError("x" * 10_000)


def raised() -> r.ExitReason:
    try:
        crash(30)
    except ValueError as error:
        return r.raised(error)
    raise AssertionError


EVERY = [
    r.NORMAL,
    r.SHUTDOWN,
    r.NOPROC,
    r.HUNG,
    r.MAX_RSS,
    r.ABORTED,
    r.shutdown("drained"),
    r.killed(11),
    r.exited(3),
    raised(),
    r.failed_to_start_child("b", r.failed_to_start_child("c", r.killed(9))),
]


@pytest.mark.parametrize("reason", EVERY, ids=str)
def test_a_reason_survives_a_message(reason: r.ExitReason) -> None:
    sent = msgspec.msgpack.encode(reason.encode())
    assert r.ExitReason.decode(msgspec.msgpack.decode(sent, type=tuple[str, ...])) == reason


def test_only_normal_and_the_shutdowns_are_normal() -> None:
    assert [reason for reason in EVERY if reason.is_normal] == [r.NORMAL, r.SHUTDOWN, r.shutdown("drained")]


def test_a_wait_status_tells_signal_code_or_normal() -> None:
    assert [r.from_wait_status(code) for code in (-9, 3, 0)] == [r.killed(9), r.exited(3), r.NORMAL]
    assert (r.killed(9).is_kill, r.killed(15).is_kill, r.exited(9).is_kill) == (True, False, False)


def test_an_exception_keeps_the_innermost_frames_and_a_bounded_message() -> None:
    reason = raised()
    kind, message, traceback = reason.parts
    assert (kind, len(message)) == ("ValueError", r.MESSAGE_MAX)
    frames = traceback.splitlines()
    assert len(frames) == r.TRACEBACK_FRAMES_MAX
    assert frames[-1].endswith("in crash")
    assert frames[-1].startswith(f"{__name__}:")


def test_reasons_print_as_sentences() -> None:
    assert [str(reason) for reason in EVERY if reason.kind != "exception"] == [
        "normal",
        "shutdown",
        "noproc",
        "hung",
        "max_rss",
        "aborted",
        "shutdown: drained",
        "killed by signal 11 (SIGSEGV)",
        "exit code 3",
        "failed to start child 'b': failed to start child 'c': killed by signal 9 (SIGKILL)",
    ]
    assert str(r.killed(99)) == "killed by signal 99"


@pytest.mark.parametrize(
    "encoded", [(), ("nonsense",), ("killed",), ("killed", "nine"), ("normal", "x"), ("failed_to_start_child", "a")]
)
def test_what_is_not_a_reason_is_not_decoded(encoded: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"exit reason|invalid literal"):
        r.ExitReason.decode(encoded)
