"""Which request is this, and of which trace? `X-Request-Id` and W3C `traceparent` in, its ids out. Pure."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from typing import Final

from bitnexus.http.fields import TRACEPARENT, X_REQUEST_ID

#: What may stand in a log line and in a response header as it came.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}", re.ASCII)
#: https://www.w3.org/TR/trace-context/#traceparent-header; version ff and all-zero ids are invalid.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.ASCII
)


class RequestIds:
    """Gives each request its id. Unique over processes and restarts by a random prefix, within one by a counter."""

    def __init__(self, prefix: str | None = None) -> None:
        self._prefix: Final = prefix or os.urandom(8).hex()
        self._count = itertools.count(1)

    def of(self, headers: Mapping[str, str]) -> tuple[str, str]:
        """The request's id, and its correlation id (see bitnexus.config.correlation), which has the trace's as well.

        The request's is the client's `X-Request-Id` if it is sane, else the trace id of a valid `traceparent`, else a
        new one.
        """
        trace = _trace_of(headers)
        given = headers.get(X_REQUEST_ID)
        if given is not None and _SANE.fullmatch(given):
            return given, f"{given}/{trace}" if trace else given
        request_id = trace or f"{self._prefix}-{next(self._count):x}"
        return request_id, request_id


def _trace_of(headers: Mapping[str, str]) -> str:
    parent = headers.get(TRACEPARENT)
    match = None if parent is None else _TRACEPARENT.fullmatch(parent)
    return "" if match is None else match["trace"]
