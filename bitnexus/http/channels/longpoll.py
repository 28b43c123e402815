"""Long polling, for clients that no WebSocket reaches: `/socket/longpoll`, as the npm client speaks it.

    GET     without a session   opens one: status 410 and its token, with which the client goes on
    GET     with a session      200 and the messages that wait; 204 when none came within the window; 500 if it is gone
    POST    with a session      200 when the messages were taken; 410 if it is gone; 400, 408, 413, 429
    OPTIONS                     what a page of another origin may do

The HTTP status is always 200, the one above stands in the body: `{"status", "token", "messages"}`. 403 refuses a
connection. After 500 the client opens a new session and joins its channels anew: nothing that was lost with the old one
is lost silently. In the place of this 500 Phoenix opens a new session itself and says 410, upon which the npm client
1.7 goes on as if its channels were joined.

A session lives in the front that opened it, and its token, signed, names that front. The kernel gives a client's next
request to any front: one that has not the session passes it on by a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar

import orjson
from aiohttp import web

from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import (
    BadCursor,
    BadRequest,
    BitNexusError,
    Forbidden,
    NoProcess,
    PayloadTooLarge,
    ProcessDown,
    RequestTimedOut,
    RuntimeFault,
)
from bitnexus.http.answers import expect
from bitnexus.http.channels.admission import POLLING_HEADER, Admission
from bitnexus.http.channels.messages import Deliver, Delivered, EndSession, Poll, Polled
from bitnexus.http.channels.poll_body import BATCH_TYPE, MAX_BODY_BYTES
from bitnexus.http.channels.poll_session import GONE, REFUSED
from bitnexus.http.channels.poll_sessions import PollSessions
from bitnexus.http.cursors import Cursors

#: A newer client's way to name its session.
SESSION_HEADER: Final = "X-Phoenix-LongPoll-Token"
BODY_TIMEOUT_S: Final = 10.0
#: How much longer than its window a poll may take that is passed on, and how long a delivery may.
MARGIN_S: Final = 5.0
_SCOPE: Final = "longpoll"
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": f"Accept, Authorization, Content-Type, {POLLING_HEADER}, {SESSION_HEADER}",
    "Access-Control-Max-Age": "3600",
}

M = TypeVar("M", bound=Message)


class LongPolls:
    """The handler of all three methods; `front` is the name under which the others reach these sessions."""

    def __init__(
        self, admission: Admission, sessions: PollSessions, tokens: Cursors, *, node: Node, front: str
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._tokens = tokens
        self._node = node
        self._front = front
        self._draining = asyncio.get_running_loop().create_future()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; errors as well are answered in this protocol's form."""
        try:
            self._admission.check_origin(request.headers, request.host)
        except Forbidden as error:
            return _answer({"status": error.status}, {})
        headers = _cors(request.headers)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**headers, **_PREFLIGHT})
        try:
            body = await (self._poll(request) if request.method == "GET" else self._post(request))
        except BitNexusError as error:
            # What a client of Phoenix does not know it does not survive.
            status = error.status if error.status < BitNexusError.status else REFUSED.status
            body = {"status": status}
        return _answer(body, headers)

    def refuse(self) -> None:
        """This front drains: open no more, and give up the polls that wait at other fronts."""
        if not self._draining.done():
            self._draining.set_result(None)

    def resume(self) -> None:
        """After a drain."""
        if self._draining.done():
            self._draining = asyncio.get_running_loop().create_future()

    async def _poll(self, request: web.Request) -> dict[str, object]:
        place = self._place_of(request)
        if place is None:
            return self._open(request)
        polled = await self._poll_at(*place)
        if polled.status == GONE.status:
            return {"status": REFUSED.status}
        return {"status": polled.status, "token": _token_of(request), "messages": polled.messages}

    def _open(self, request: web.Request) -> dict[str, object]:
        principal, serializer = self._admission.admit(request.headers, request.query, request.host)
        if self._draining.done():
            return {"status": REFUSED.status}
        id_ = self._sessions.open(principal, serializer)
        return {"status": GONE.status, "token": self._tokens.encode([self._front, id_], _SCOPE), "messages": []}

    async def _post(self, request: web.Request) -> dict[str, object]:
        place = self._place_of(request)
        if place is None:
            return {"status": GONE.status}
        deliver = Deliver(place[1], await _read(request), batched=request.content_type == BATCH_TYPE)
        return {"status": (await self._deliver_at(place[0], deliver)).status}

    # -- here or at another front -----------------------------------------------------------------------------

    async def _poll_at(self, front: str, id_: str) -> Polled:
        if front == self._front:
            return await self._sessions.poll(id_)
        call = asyncio.create_task(
            self._pass_on(front, id_, Poll(id_), Polled, self._sessions.window_s + MARGIN_S, gone=GONE, lost=REFUSED)
        )
        await asyncio.wait({call, self._draining}, return_when=asyncio.FIRST_COMPLETED)
        if call.done():
            return call.result()
        # What the other front sends from here on nobody reads: the client must learn that it has missed something.
        call.cancel()
        self._node.cast(front, EndSession(id_))
        return REFUSED

    async def _deliver_at(self, front: str, deliver: Deliver) -> Delivered:
        if front == self._front:
            return self._sessions.deliver(deliver)
        gone, lost = Delivered(GONE.status), Delivered(REFUSED.status)
        return await self._pass_on(front, deliver.session, deliver, Delivered, MARGIN_S, gone=gone, lost=lost)

    async def _pass_on(
        self, front: str, id_: str, message: Message, answer: type[M], timeout_s: float, *, gone: M, lost: M
    ) -> M:
        try:
            return expect(answer, await self._node.call(front, message, timeout_s=timeout_s))
        except (NoProcess, ProcessDown):
            return gone
        except RuntimeFault:
            self._node.cast(front, EndSession(id_))
            return lost

    def _place_of(self, request: web.Request) -> tuple[str, str] | None:
        """The front and the id of the session that the request names."""
        token = _token_of(request)
        if token is None:
            return None
        try:
            front, id_ = self._tokens.decode(token, _SCOPE)
        except BadCursor:
            return None
        return str(front), str(id_)


def _token_of(request: web.Request) -> str | None:
    """The session's token; in the query it stands behind the access token, whose parameter has the same name."""
    return request.headers.get(SESSION_HEADER) or next(iter(reversed(request.query.getall("token", []))), None)


def _cors(headers: Mapping[str, str]) -> dict[str, str]:
    """For a page of an origin that may connect."""
    origin = headers.get("Origin")
    return {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def _answer(body: dict[str, object], headers: Mapping[str, str]) -> web.Response:
    return web.Response(body=orjson.dumps(body), headers={"Content-Type": "application/json", **headers})


async def _read(request: web.Request) -> bytes:
    """The body; bounded in size and in time."""
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise PayloadTooLarge
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.clone(client_max_size=MAX_BODY_BYTES).read()
    except TimeoutError as error:
        raise RequestTimedOut from error
    except web.HTTPRequestEntityTooLarge as error:
        raise PayloadTooLarge from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise BadRequest("The body is not complete") from error
