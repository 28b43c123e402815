"""The short way through the front, for the requests that are nearly all of its work: a whole one, one actor's answer.

aiohttp makes of each request a task, a stream, a request and a response, and wakes the loop twice: together more than
the transfer itself costs. A route whose answer hangs on one call to an actor needs none of that. It is begun where its
bytes are parsed, by aiohttp's own parser, and answered where the reply comes in.

Only what goes well goes this way. Whatever is out of the ordinary, in the request or in the state of its connection,
and whatever is refused before it is begun, is declined here, has had no effect, and takes the usual way from its
beginning: that alone knows how to refuse.
"""

from __future__ import annotations

import http
import logging
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias

import structlog
from aiohttp import EMPTY_PAYLOAD, HttpVersion11, StreamReader

from bitnexus.config import correlation
from bitnexus.errors import BitNexusError
from bitnexus.http.correlation import RequestIds
from bitnexus.http.fields import CONTENT_ENCODING, EXPECT, ORIGIN
from bitnexus.http.presentation import COMPRESSED_FROM_BYTES, STATIC_HEADERS
from bitnexus.http.problem import problem
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.traffic import Traffic

#: Larger bodies take the usual way: their answers may be large enough to be compressed.
MAX_BODY_BYTES: Final = COMPRESSED_FROM_BYTES // 2
Headers: TypeAlias = Mapping[str, str]
#: Status, body, and headers besides the usual ones.
Answer: TypeAlias = tuple[int, bytes, Headers]
#: Called once, with the answer or the error.
Finish: TypeAlias = Callable[[Answer | BitNexusError], None]
#: Begins a request with these headers and this body. Raises BitNexusError: not begun, and not by this way.
Begin: TypeAlias = Callable[[Headers, bytes, Finish], None]
#: A route's canonical path, the path that was asked for, and how that is begun.
Found: TypeAlias = tuple[str, str, Begin]

_STATIC: Final = "".join(f"{name}: {value}\r\n" for name, value in STATIC_HEADERS)
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus}

log = structlog.get_logger(__name__)


class Wire(Protocol):
    """Where the answer goes: a connection that does nothing else meanwhile."""

    def answered(self, data: bytes, *, last: bool) -> None:
        """Write the answer; with `last` the connection ends with it."""


class FastPath:
    """The routes of one front that may take it, by method and path; `reads` finds those of a GET by id."""

    def __init__(
        self,
        routes: Mapping[tuple[str, str], Begin],
        reads: Callable[[Any], Found | None],
        request_ids: RequestIds,
        metrics: RequestMetrics,
        traffic: Traffic,
    ) -> None:
        self._routes = routes
        self._reads = reads
        self._request_ids = request_ids
        self._metrics = metrics
        self._traffic = traffic
        self._tells = logging.getLogger().isEnabledFor(logging.DEBUG)

    def begin(self, wire: Wire, message: Any, payload: Any) -> bool:  # noqa: ANN401 - aiohttp's, without public names
        """Begin the parsed request; False if it must take the usual way. True: `wire` is answered once, later."""
        method, path = message.method, message.path
        begin, route = self._routes.get((method, path)), path
        if begin is None and method == "GET" and (found := self._reads(message)) is not None:
            route, path, begin = found
        if begin is None or message.should_close or message.version != HttpVersion11:
            return False
        headers, body = message.headers, _whole(payload)
        if body is None or len(body) > MAX_BODY_BYTES or message.chunked or message.upgrade:
            return False
        if EXPECT in headers or CONTENT_ENCODING in headers or ORIGIN in headers:
            return False
        started = perf_counter()
        request_id, correlated = self._request_ids.of(headers)

        def finish(answer: Answer | BitNexusError) -> None:
            self._traffic.leave()
            if isinstance(answer, BitNexusError):
                answer = self._told(answer, method, path, correlated)
            status, content, fields = answer
            last = self._traffic.draining
            wire.answered(_response(status, content, fields, request_id, last=last), last=last)
            seconds = perf_counter() - started
            self._metrics.observe(method, route, status, seconds)
            if self._tells:
                known = correlation.fields(correlated)
                log.debug("request_answered", **known, method=method, route=route, status=status, seconds=seconds)

        outer = correlation.request_id.set(correlated)
        self._traffic.enter()
        try:
            begin(headers, body, finish)
        except BitNexusError:
            self._traffic.leave()
            return False
        finally:
            correlation.request_id.reset(outer)
        self._metrics.fast += 1
        return True

    def _told(self, error: BitNexusError, method: str, path: str, correlated: str) -> Answer:
        known = correlation.fields(correlated)
        if error.status == BitNexusError.status:
            log.error("request_failed", **known, code=error.code, method=method, path=path)
        return problem(error, instance=path, request_id=known["request_id"])


def _whole(payload: Any) -> bytes | None:  # noqa: ANN401 - as above
    """The body, if all of it is there, in one piece; it stays where it is."""
    if payload is EMPTY_PAYLOAD:
        return b""
    if type(payload) is not StreamReader or not payload.is_eof():
        return None
    # To read it would have the connection parse on at once.
    chunks = payload._buffer  # noqa: SLF001
    return chunks[0] if len(chunks) == 1 else None


def _response(status: int, body: bytes, headers: Headers, request_id: str, *, last: bool) -> bytes:
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    closing = "Connection: close\r\n" if last else ""
    head = (
        f"{_STATUS_LINES[status]}{fields}X-Request-Id: {request_id}\r\n{_STATIC}{closing}"
        f"Content-Length: {len(body)}\r\nDate: {_date(int(time.time()))}\r\n\r\n"
    )
    return head.encode("latin-1") + body


@lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
