"""Why a process or a light actor ended: a small value that prints well and travels as text.

The vocabulary is OTP's (``normal``, ``shutdown``, ``(shutdown, term)``, ``noproc``) plus what an operating system
process can end with: a signal, an exit code, an exception. ``reason.encode()`` gives a tuple of strings and
:meth:`ExitReason.decode` takes it back, so a message can carry a reason in a field ``tuple[str, ...]``.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, get_args

Kind = Literal[
    "normal",  # the actor finished
    "shutdown",  # its supervisor asked it; parts: () or (term,)
    "killed",  # by a signal; parts: (number,)
    "exit",  # the process ended with this code by itself; parts: (code,)
    "exception",  # parts: (type, message, traceback head)
    "noproc",  # it was not there
    "hung",  # no heartbeat within its time
    "max_rss",  # it grew over its memory limit
    "aborted",  # a start that was given up before it was complete
    "failed_to_start_child",  # a supervisor whose start failed; parts: (child id, kind, *parts of the child's reason)
]

#: How much of an exception travels: enough to find the line, never a whole payload.
MESSAGE_MAX: Final = 500
TRACEBACK_FRAMES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class ExitReason:
    """One reason; make it with the constants and functions of this module rather than by hand."""

    kind: Kind
    parts: tuple[str, ...] = ()

    @property
    def is_normal(self) -> bool:
        """True for ``normal``, ``shutdown``, ``(shutdown, term)``: a transient child is not restarted after these."""
        return self.kind in ("normal", "shutdown")

    @property
    def is_kill(self) -> bool:
        """True if SIGKILL ended it, by whomever it was sent."""
        return self.signal == signal.SIGKILL

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, or None."""
        return int(self.parts[0]) if self.kind == "killed" else None

    @property
    def traceback(self) -> str:
        """The head of the traceback, innermost frame last, or an empty string."""
        return self.parts[2] if self.kind == "exception" else ""

    def encode(self) -> tuple[str, ...]:
        """The reason as strings: ``(kind, *parts)``."""
        return (self.kind, *self.parts)

    @staticmethod
    def decode(encoded: Sequence[str]) -> ExitReason:
        """The reason that was encoded. Raises ValueError for an unknown kind or a wrong number of parts."""
        kinds: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
        if not encoded or encoded[0] not in kinds:
            raise ValueError(f"not an encoded exit reason: {encoded!r}")
        kind, parts = kinds[encoded[0]], tuple(encoded[1:])
        _check_parts(kind, parts)
        return ExitReason(kind, parts)

    def __str__(self) -> str:
        return _describe(self.kind, self.parts)


NORMAL: Final = ExitReason("normal")
SHUTDOWN: Final = ExitReason("shutdown")
NOPROC: Final = ExitReason("noproc")
HUNG: Final = ExitReason("hung")
MAX_RSS: Final = ExitReason("max_rss")
ABORTED: Final = ExitReason("aborted")


def shutdown(term: str) -> ExitReason:
    """An orderly end with a word about why: OTP's ``{shutdown, Term}``."""
    return ExitReason("shutdown", (term,))


def killed(signal_number: int) -> ExitReason:
    """Ended by a signal."""
    return ExitReason("killed", (str(signal_number),))


def exited(code: int) -> ExitReason:
    """A process that ended by itself with an exit code; 0 is ``normal``."""
    return NORMAL if code == 0 else ExitReason("exit", (str(code),))


def from_wait_status(code: int) -> ExitReason:
    """The reason for an exit code as ``os.waitstatus_to_exitcode`` gives it: negative numbers are signals."""
    return killed(-code) if code < 0 else exited(code)


def raised(error: BaseException) -> ExitReason:
    """An exception that escaped a handler, with its message (cut) and the innermost frames of its traceback."""
    return ExitReason(
        "exception", (type(error).__qualname__, str(error)[:MESSAGE_MAX], _traceback_head(error.__traceback__))
    )


def failed_to_start_child(child_id: str, reason: ExitReason) -> ExitReason:
    """A supervisor gave up its start because this child did not start."""
    return ExitReason("failed_to_start_child", (child_id, *reason.encode()))


def _traceback_head(traceback: TracebackType | None) -> str:
    # Walked by hand: the traceback module would read source files, and the values of variables must never travel.
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = traceback.tb_frame.f_globals.get("__name__", code.co_filename)
        frames.append(f"{module}:{traceback.tb_lineno} in {code.co_qualname}")
        traceback = traceback.tb_next
    return "\n".join(frames[-TRACEBACK_FRAMES_MAX:])


def _check_parts(kind: Kind, parts: tuple[str, ...]) -> None:
    match kind, len(parts):
        case "shutdown", 0 | 1:
            pass
        case (("killed" | "exit"), 1):
            int(parts[0])
        case "exception", 3:
            pass
        case "failed_to_start_child", count if count > 1:
            ExitReason.decode(parts[1:])
        case (("normal" | "noproc" | "hung" | "max_rss" | "aborted"), 0):
            pass
        case _:
            raise ValueError(f"an exit reason {kind!r} cannot have the parts {parts!r}")


def _describe(kind: Kind, parts: tuple[str, ...]) -> str:
    match kind:
        case "shutdown" if parts:
            return f"shutdown: {parts[0]}"
        case "killed":
            return f"killed by signal {parts[0]}{_signal_name(int(parts[0]))}"
        case "exit":
            return f"exit code {parts[0]}"
        case "exception":
            return f"{parts[0]}: {parts[1]}" if parts[1] else parts[0]
        case "failed_to_start_child":
            return f"failed to start child {parts[0]!r}: {ExitReason.decode(parts[1:])}"
        case _:
            return kind


def _signal_name(number: int) -> str:
    known = {int(one): one.name for one in signal.Signals}
    return f" ({known[number]})" if number in known else ""
