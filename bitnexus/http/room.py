"""How much one front takes on: so many requests under way, so many connections; the next one is refused at once.

Refused before any effect: 503 with Retry-After, upon which a client turns to another front. A queue in its place would
only make everybody late. Probes of the service's health are let through, for they ask just then; sockets and polls,
which wait for most of their time, are not counted among the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, cast

from aiohttp import web

from bitnexus.errors import BitNexusError, Overloaded
from bitnexus.http.fast_path import Begin, Finish, Headers
from bitnexus.http.presentation import STATIC_HEADERS
from bitnexus.http.problem import problem
from bitnexus.http.traffic import Traffic

Handler: TypeAlias = Callable[[Any], Awaitable[web.StreamResponse]]
GOODBYE_S: Final = 1.0
MOST_GOODBYES: Final = 256
_FULL: Final = "This front has as many requests under way as it takes"


class Room:
    """The requests under way in one front, at most `most`; `traffic` counts them, and what is set aside."""

    __slots__ = ("_aside", "_most", "_traffic")

    def __init__(self, traffic: Traffic, most: int) -> None:
        self._traffic = traffic
        self._most = most
        self._aside = 0

    def bounded(self, handler: Handler) -> Handler:
        """The handler, but for a request that is one too many.

        Its Overloaded comes before the request is authenticated, and before its body is read.
        """
        traffic, most = self._traffic, self._most

        async def handle(request: web.Request) -> web.StreamResponse:
            # This request is counted already.
            if traffic.under_way - self._aside > most:
                raise Overloaded(_FULL)
            return await handler(request)

        return handle

    def bounded_begin(self, begin: Begin) -> Begin:
        """The same for the fast path: declined, and then refused on the usual way."""
        traffic, most = self._traffic, self._most

        def begin_bounded(headers: Headers, body: bytes, finish: Finish) -> None:
            if traffic.under_way - self._aside > most:
                raise Overloaded(_FULL)
            begin(headers, body, finish)

        return begin_bounded

    def aside(self, handler: Handler) -> Handler:
        """The handler of what waits for most of its time: it takes no room."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self._aside += 1
            try:
                return await handler(request)
            finally:
                self._aside -= 1

        return handle


class TurnedAway(asyncio.Protocol):
    """The protocol of a connection that is one too many: 503, whatever it asks, and its end.

    `others` are those at this moment. Each stays until its client has read the answer and closed, or for
    :data:`GOODBYE_S`: closed at once, with a request unread, it would be reset, and the answer lost. When even those
    are too many, it is.
    """

    def __init__(self, others: set[TurnedAway]) -> None:
        self._others = others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        if len(self._others) >= MOST_GOODBYES:
            self._transport.abort()
            return
        self._others.add(self)
        self._timer = asyncio.get_running_loop().call_later(GOODBYE_S, self._transport.abort)
        self._transport.write(_TURNED_AWAY)
        self._transport.write_eof()

    def connection_lost(self, _: Exception | None) -> None:
        """It is over."""
        if self in self._others:
            self._others.remove(self)
            self._timer.cancel()


def last_answer(error: BitNexusError) -> bytes:
    """A whole answer, after which the connection ends, to a request of which nothing is known."""
    status, body, headers = problem(error, instance="unknown", request_id="unknown")
    fields = {**headers, **dict(STATIC_HEADERS), "Connection": "close", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {error.title}\r\n{head}\r\n".encode("latin-1") + body


_TURNED_AWAY: Final = last_answer(Overloaded("This front has as many connections as it takes"))
