"""Connections to clients: aiohttp's, with a fast path, and with problem+json for what cannot be parsed.

aiohttp answers a request that it cannot parse before the edge sees it: with text, and a traceback in the log for every
stranger who sends garbage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from bitnexus.errors import BadRequest, BitNexusError
from bitnexus.http.correlation import RequestIds
from bitnexus.http.edge import UNMATCHED
from bitnexus.http.fast_path import FastPath
from bitnexus.http.patience import Seen, Wire
from bitnexus.http.presentation import STATIC_HEADERS
from bitnexus.http.problem import problem
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.room import TurnedAway

#: In the place of the method and the path, which nobody knows.
_UNKNOWN: Final = "unknown"

log = structlog.get_logger(__name__)


class Refusals:
    """Answers what could not be parsed."""

    def __init__(self, request_ids: RequestIds, metrics: RequestMetrics) -> None:
        self._request_ids = request_ids
        self._metrics = metrics

    def answer(self, request: web.BaseRequest, error: BitNexusError) -> web.Response:
        """The last answer of this connection: where the next request begins is not known."""
        request_id, _ = self._request_ids.of({})
        status, body, headers = problem(error, instance=_UNKNOWN, request_id=request_id)
        self._metrics.observe(_UNKNOWN, UNMATCHED, status, 0.0)
        log.debug("request_unreadable", request_id=request_id, peer=request.remote, status=status)
        headers |= {"X-Request-Id": request_id, **dict(STATIC_HEADERS)}
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        return response


class _Parser:
    """aiohttp's, from whose messages the connection may take one for itself."""

    __slots__ = (
        "_is_idle",
        "_offer",
        "_parser",
        "feed_eof",
        "half_heads",
        "has_half",
        "message_consumed",
        "pause_reading",
        "set_upgraded",
        "upgrading",
    )

    def __init__(self, parser: Any, offer: Callable[[Any, Any], bool], is_idle: Callable[[], bool]) -> None:
        self._parser = parser
        self._offer = offer
        self._is_idle = is_idle
        #: Whether a part of a head has come and not the rest, and how often that was so.
        self.has_half, self.half_heads = False, 0
        #: The headers of the request that asks to be upgraded.
        self.upgrading: CIMultiDict[str] | None = None
        self.feed_eof = parser.feed_eof
        self.message_consumed = parser.message_consumed
        self.pause_reading = parser.pause_reading
        self.set_upgraded = parser.set_upgraded

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """The messages that are for aiohttp."""
        found: tuple[Sequence[Any], bool, bytes] = self._parser.feed_data(data)
        messages = found[0]
        if not messages:
            if data and not self.has_half and self._is_idle():
                self.has_half, self.half_heads = True, self.half_heads + 1
            return found
        if self.has_half:
            self.has_half = False
        if len(messages) == 1 and self._offer(*messages[0]):
            self.message_consumed()
            return (), found[1], found[2]
        return self._to_upgrade(found) if found[1] else found

    def _to_upgrade(self, found: tuple[Sequence[Any], bool, bytes]) -> tuple[Sequence[Any], bool, bytes]:
        """The same, but the last request's headers are ours to clear: aiohttp holds it until its socket closes."""
        *before, (message, payload) = found[0]
        self.upgrading = CIMultiDict(message.headers)
        kept = message._replace(headers=CIMultiDictProxy(self.upgrading), raw_headers=())
        return [*before, (kept, payload)], found[1], found[2]


class _Connection(web.RequestHandler):
    """aiohttp's, but for what takes the fast path, and for what it answers by itself.

    A request on the fast path is alone: what the client sends meanwhile is not read, or held until it is answered.
    """

    __slots__ = ("_fast_path", "_held", "_is_answering", "_refusals")

    def __init__(self, refusals: Refusals, fast_path: FastPath, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals = refusals
        self._fast_path = fast_path
        self._is_answering = False
        self._held = b""
        self._parser = cast("Any", _Parser(self._parser, self._offered, self._is_idle))

    def seen(self, transport: Wire) -> Seen:
        """As patience.py looks at it; of a socket only its end."""
        parser, is_leaving = cast("_Parser | None", self._parser), transport.is_closing()
        half = f"half head {parser.half_heads}" if parser is not None and parser.has_half and not is_leaving else ""
        is_stuck = transport.get_write_buffer_size() > 0 if is_leaving else self._paused and not self._upgraded
        return Seen(self, transport, half, is_stuck)

    def _is_idle(self) -> bool:
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._is_answering

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """As aiohttp calls it when the request has become a socket.

        No other request comes, and nobody asks for the headers of this one any more: a fifth of what a client takes.
        """
        requests, self._parser = cast("_Parser | None", self._parser), None
        if requests is not None and requests.upgrading is not None:
            requests.upgrading.clear()
        super().set_parser(parser, data_received_cb)

    def data_received(self, data: bytes) -> None:
        """As aiohttp calls it."""
        if not self._is_answering:
            super().data_received(data)
            return
        self._held += data
        self._pause_transport_reading()

    def _offered(self, message: Any, payload: Any) -> bool:
        """Whether the parsed request is answered by the fast path; if not, aiohttp must."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages or self._paused or self._close or self._force_close:
            return False  # it is not this request's turn yet, or there is no room for its answer, or no turn will come
        # Before it is begun: it may be answered at once.
        self._is_answering = self._request_in_progress = True
        if not self._fast_path.begin(self, message, payload):
            self._is_answering = self._request_in_progress = False
            return False
        # For aiohttp the connection is idle: it must not end it for that. No answer takes as long as that.
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True

    def answered(self, data: bytes, *, last: bool) -> None:
        """See fast_path.Wire."""
        self._is_answering = self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self.transport is None:
            return  # the client has gone
        self.transport.write(data)
        if last:
            self.force_close()
        elif self._held:
            held, self._held = self._held, b""
            self._resume_transport_reading()
            self.data_received(held)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = BitNexusError.status,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp calls it; what escapes the edge itself is a fault of ours, and logged by aiohttp."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        return self._refusals.answer(request, BadRequest("This is no HTTP request"))


class _Server(web.Server):
    """Makes such connections."""

    def __init__(self, refusals: Refusals, fast_path: FastPath, most: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals = refusals
        self._fast_path = fast_path
        self._most = most
        self._turned_away: set[TurnedAway] = set()

    def seen(self) -> Iterator[Seen]:
        """All connections."""
        for connection, transport in tuple(self._connections.items()):
            yield cast("_Connection", connection).seen(transport)

    def __call__(self) -> web.RequestHandler:
        if len(self._connections) >= self._most:
            return cast("web.RequestHandler", TurnedAway(self._turned_away))  # all that the loop needs is a protocol
        return _Connection(self._refusals, self._fast_path, self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, with such a server."""

    def __init__(
        self, app: web.Application, refusals: Refusals, fast_path: FastPath, *, most: int, **options: Any
    ) -> None:
        super().__init__(app, **options)
        self._refusals = refusals
        self._fast_path = fast_path
        self._most = most

    def seen(self) -> Iterator[Seen]:
        """All connections, as patience.py looks at them."""
        return cast("_Server", self.server).seen()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options = {"request_factory": made.request_factory, "loop": made._loop, **made._kwargs}  # noqa: SLF001
        return _Server(self._refusals, self._fast_path, self._most, made.request_handler, **options)
