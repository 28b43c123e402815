"""Log lines of every process: structlog and the standard library's loggers end in the same lines on stderr.

On a terminal they are coloured for reading, elsewhere one JSON object a line. Each carries time (ISO 8601, UTC),
level, process name and pid, and whatever is bound to structlog's context, the request id above all, where it was
written. A line leaves at once and whole (see line_writer.py), so that those of many processes do not mix. Call
:func:`configure` at the start of each process, also after a fork.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from bitnexus.config.correlation import fields, request_id
from bitnexus.config.line_writer import LineWriter
from bitnexus.config.redaction import bounded, filtered

if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import EventDict, Processor, WrappedLogger

    from bitnexus.config.settings import Settings

#: Libraries that tell much and say little: their least level, unless ours is higher.
LIBRARY_LEVELS = {
    "aiohttp.access": logging.WARNING,  # the front counts requests, and writes its own line for each at debug
    "alembic": logging.INFO,
    "asyncio": logging.WARNING,
    "asyncpg": logging.INFO,
    "sqlalchemy": logging.WARNING,
    "Thespian": logging.WARNING,
    "thespian": logging.WARNING,
}

# Thespian replaces both in each process it forks, by a root that sends every record to a process of its own.
_ROOT, _MANAGER = logging.root, logging.Logger.manager

_tap: Callable[[str], None] | None = None
# Filled by configure(); read at each line, so that loggers made before a fork give the name of their new process.
_process_name = "main"


def configure(settings: Settings, process: str) -> None:
    """Set the log lines of this process up. `process` is its name on them, as ``ledger`` or ``http-0``."""
    global _process_name, _tap
    _process_name, _tap = process, None  # who followed the lines of this one's parent does not follow its own
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    writer = LineWriter(sys.stderr.fileno())
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        # Plain tracebacks: the pretty ones show local variables, thus secrets.
        structlog.processors.format_exc_info,
        _add_origin,
        bounded,
        filtered,
        _tapped,  # the last: what follows the lines sees no secret either
    ]
    renderer = _renderer(settings, terminal=writer.is_terminal())
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_args: writer,
        cache_logger_on_first_use=False,  # configure() is called again after each fork
    )
    _route_standard_library(chain, renderer, writer, level)
    sys.excepthook = _log_uncaught


def _renderer(settings: Settings, *, terminal: bool) -> Processor:
    if settings.log_format == "console" or (settings.log_format == "auto" and terminal):
        return structlog.dev.ConsoleRenderer(
            colors=terminal and "NO_COLOR" not in os.environ,
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=40,
        )
    return render_json


def render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """The event as one JSON object without line breaks; values JSON does not know as their ``repr``."""
    ordered = {key: event.pop(key) for key in ("timestamp", "level", "process", "pid", "event") if key in event}
    ordered.update(event)
    try:
        return orjson.dumps(ordered, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        # Integers over 64 bits or lone surrogates: the slower one writes them all the same.
        return json.dumps(ordered, default=repr)


def tap(take: Callable[[str], None] | None) -> None:
    """Have every line of this process given to `take` as well, as JSON, by the thread that writes it; None ends it."""
    global _tap  # noqa: PLW0603 - one per process
    _tap = take


def _tapped(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if _tap is not None:
        _tap(render_json(None, "", {key: value for key, value in event.items() if not key.startswith("_")}))
    return event


def _add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    when = datetime.now(UTC) if record is None else datetime.fromtimestamp(record.created, UTC)
    event["timestamp"] = when.isoformat(timespec="microseconds").replace("+00:00", "Z")
    event["process"] = _process_name
    event["pid"] = os.getpid()
    if (request := request_id.get()) and "request_id" not in event:
        event.update(fields(request))
    if record is not None:
        event["logger"] = record.name
    return event


def thespian_handler() -> logging.Handler:
    """The handler of Thespian's logger process, for its ``logDefs``: our lines, from a process named ``thespian``."""
    from bitnexus.config.settings import get_settings  # noqa: PLC0415 - called in Thespian's logger process alone

    configure(get_settings(), process="thespian")
    return _ROOT.handlers[-1]


class _LineHandler(logging.Handler):
    """Passes the standard library's records to the same writer."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.msg(self.format(record))
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not end its writer
            self._writer.msg(render_json(None, "", _add_origin(None, "", _unformattable(record))))


def _unformattable(record: logging.LogRecord) -> dict[str, Any]:
    return {
        "event": "log record cannot be formatted",
        "level": "error",
        "logger": record.name,
        "file": record.filename,
        "line": record.lineno,
    }


def _route_standard_library(chain: list[Processor], renderer: Processor, writer: LineWriter, level: int) -> None:
    handler = _LineHandler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.root = logging.Logger.root = _ROOT
    logging.Logger.manager = _MANAGER
    for old in _ROOT.handlers[:]:
        # Ours of before a fork, and the default one; those of a test runner stay.
        if isinstance(old, _LineHandler) or type(old) is logging.StreamHandler:
            _ROOT.removeHandler(old)
    _ROOT.addHandler(handler)
    _ROOT.setLevel(level)
    for name, least in LIBRARY_LEVELS.items():
        library = logging.getLogger(name)
        library.setLevel(max(level, least))
        library.propagate = True
    logging.captureWarnings(capture=True)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().critical("uncaught_exception", exc_info=(kind, error, trace))
