"""What Thespian notes about itself comes out as our log lines, not in a file of everybody's in /tmp.

Thespian has a log of its own below the logging that its actors use: a function that appends to $TMPDIR/thespian.log.
Its size is read from the environment when Thespian is imported: a setting of ours would come too late, and would drop
the lines rather than move them.
"""

from __future__ import annotations

import logging
import sys
import traceback

import structlog
from thespian.system import utilis

log = structlog.get_logger("bitnexus.thespian")

_original = utilis.thesplog


def thesplog(msg: object, *args: object, level: int = logging.INFO, exc_info: object = None, **_: object) -> None:
    """Takes the place of Thespian's function of this name. Below a warning it tells only how it works."""
    if level >= logging.WARNING:
        try:
            text = str(msg) % args if args else str(msg)
        except (TypeError, ValueError):
            text = f"{msg} {args}"
        # As text: a pretty traceback would show the values of variables.
        log.log(level, "thespian", text=text, traceback=traceback.format_exc() if exc_info else None)


def redirect() -> None:
    """Put it in its place in every module of Thespian's that has been imported. Idempotent."""
    for name, module in list(sys.modules.items()):
        if name.startswith("thespian.") and getattr(module, "thesplog", None) is _original:
            module.thesplog = thesplog  # type: ignore[attr-defined]
