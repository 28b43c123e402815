"""What Thespian notes about itself comes out as our log lines, not in a file of everybody's in /tmp.

Thespian has a log of its own below the logging that its actors use: a function that appends to $TMPDIR/thespian.log.
Its size is read from the environment when Thespian is imported: a setting of ours would come too late, and would drop
the lines rather than move them.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable

import structlog
from thespian.system import utilis
from thespian.system.transport import ReceiveEnvelope, TransmitIntent

log = structlog.get_logger("bitnexus.thespian")

_original = utilis.thesplog


class _Note:
    """The text that an object has for Thespian's log, made when somebody reads it."""

    __slots__ = ("_identify", "_of")

    def __init__(self, of: object, identify: Callable[[object], str]) -> None:
        self._of = of
        self._identify = identify

    def __str__(self) -> str:
        return self._identify(self._of)

    __repr__ = __str__


def thesplog(msg: object, *args: object, level: int = logging.INFO, exc_info: object = None, **_: object) -> None:
    """Takes the place of Thespian's function of this name. Below a warning it tells only how it works."""
    if level >= logging.WARNING:
        try:
            text = str(msg) % args if args else str(msg)
        except Exception as error:  # noqa: BLE001 - a message's own code runs; noting it must end nobody
            text = f"a note that cannot be formatted ({type(error).__name__}): {msg!r}"
        # As text: a pretty traceback would show the values of variables.
        log.log(level, "thespian", text=text, traceback=traceback.format_exc() if exc_info else None)


def _identify_late(kind: type[object]) -> None:
    identify: Callable[[object], str] = vars(kind)["identify"]
    if identify.__module__ == __name__:
        return

    def late(self: object) -> _Note:
        return _Note(self, identify)

    setattr(kind, "identify", late)  # noqa: B010  # Thespian has no type hints
    setattr(kind, "__str__", identify)  # noqa: B010


def redirect() -> None:
    """Put it in its place in every module of Thespian's that has been imported. Idempotent.

    Thespian identifies each message it moves, with its whole text, for lines that are not written: a third of what it
    does. From now on that is done for a line that is.
    """
    for kind in (ReceiveEnvelope, TransmitIntent):
        _identify_late(kind)
    for name, module in list(sys.modules.items()):
        if name.startswith("thespian.") and getattr(module, "thesplog", None) is _original:
            module.thesplog = thesplog  # type: ignore[attr-defined]
