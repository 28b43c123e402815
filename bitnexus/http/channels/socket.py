"""The WebSocket of a channel client: `GET /socket/websocket?vsn=2.0.0&token=…`.

Refusals are made before the upgrade and cost no more than a small answer: wrong version, foreign page (Origin), no
valid token. Afterwards every frame goes through :class:`Session`. What is to be sent waits in a bounded queue; a
client that does not read it is closed with 1013.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from bitnexus.errors import Forbidden, Overloaded, RuntimeFault, Unauthorized
from bitnexus.http.channels import serializer
from bitnexus.http.channels.hub import Hub
from bitnexus.http.channels.origins import allowed
from bitnexus.http.channels.serializer import BadFrame
from bitnexus.http.channels.session import Effect, Send, Session, Subscribe, Unsubscribe
from bitnexus.http.channels.topics import judge
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.principal import Principal
from bitnexus.tokens import AccessTokens

MAX_FRAME_BYTES: Final = 64 * 1024
IDLE_S: Final = 60.0
CLOSE_S: Final = 1.0
MAX_QUEUED_FRAMES: Final = 1_000
MAX_QUEUED_CHARS: Final = 1024 * 1024
#: The npm client sends its token in Sec-WebSocket-Protocol behind this prefix.
BEARER_PROTOCOL: Final = "base64url.bearer.phx."

log = structlog.get_logger(__name__)


class Sockets:
    """The open sockets of one front, and the handler that makes them."""

    def __init__(
        self,
        tokens: AccessTokens,
        hub: Hub,
        metrics: RequestMetrics,
        *,
        origins: Sequence[str] = (),
        pages: frozenset[str] = frozenset(),
        idle_s: float = IDLE_S,
    ) -> None:
        self._tokens = tokens
        self._hub = hub
        self._metrics = metrics
        self._origins = tuple(origins)
        self._pages = pages
        self._idle_s = idle_s
        self._open: set[ChannelSocket] = set()
        self._draining = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Upgrade the request and serve the socket until it closes.

        Raises:
            Forbidden: version, origin or token refused.
            Overloaded: this front is draining.
        """
        principal = self._admit(request)
        websocket = web.WebSocketResponse(
            protocols=("phoenix",), max_msg_size=MAX_FRAME_BYTES, timeout=CLOSE_S, compress=False
        )
        await websocket.prepare(request)
        socket = ChannelSocket(websocket, request, principal, self._hub, self._idle_s)
        self._open.add(socket)
        self._metrics.sockets += 1
        try:
            await socket.serve()
        finally:
            self._open.discard(socket)
            self._metrics.sockets -= 1
        return websocket

    async def drain(self) -> None:
        """Close all with 1012: the clients come back at another front."""
        self._draining = True
        await asyncio.gather(*(socket.close(WSCloseCode.SERVICE_RESTART, "restart") for socket in set(self._open)))

    async def log_out(self, ended: frozenset[str]) -> None:
        """Close the sockets of these sessions and users with 1008."""
        theirs = [
            each for each in self._open if not ended.isdisjoint((each.principal.session_id, each.principal.user_id))
        ]
        await asyncio.gather(*(socket.close(WSCloseCode.POLICY_VIOLATION, "logged out") for socket in theirs))

    def resume(self) -> None:
        """After a drain: take new ones again."""
        self._draining = False

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def _admit(self, request: web.Request) -> Principal:
        if self._draining:
            raise Overloaded("This front is shutting down")
        if request.query.get("vsn") != serializer.VERSION:
            raise Forbidden(f"Only vsn={serializer.VERSION} is served")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._pages and not allowed(origin, request.host, self._origins):
            raise Forbidden("Pages of this origin may not connect")
        token = token_of(request)
        if token is None:
            raise Forbidden("No token was given")
        try:
            return self._tokens.verify(token)
        except Unauthorized as error:
            raise Forbidden("The token is not valid") from error


def token_of(request: web.Request) -> str | None:
    """The token of a connect request: in Sec-WebSocket-Protocol, Authorization or the query, in this order."""
    for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        name = protocol.strip()
        if name.startswith(BEARER_PROTOCOL):
            return _base64_text(name[len(BEARER_PROTOCOL) :])
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.query.get("token")


def _base64_text(text: str) -> str | None:
    # Both alphabets are seen: the npm client writes the standard one with its padding removed.
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


class ChannelSocket:
    """One connected client."""

    def __init__(
        self, websocket: web.WebSocketResponse, request: web.Request, principal: Principal, hub: Hub, idle_s: float
    ) -> None:
        self.principal = principal
        self._websocket = websocket
        self._request = request
        self._hub = hub
        self._idle_s = idle_s
        self._session = Session(lambda topic: judge(topic, principal))
        self._queue: deque[str] = deque()
        self._queued_chars = 0
        self._writer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._joins: dict[str, Subscribe] = {}  # by topic, the newest join that waits for its subscription
        self._joining: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Read until the socket closes."""
        try:
            await self._read()
        except Exception:
            # The error is reported by whoever called; the client learns that it was not its fault.
            await self.close(WSCloseCode.INTERNAL_ERROR, "internal error")
            raise
        finally:
            for topic in {*self._session.topics, *self._joining}:
                self._hub.unsubscribe(topic, self)
            running = [task for task in (*self._joining.values(), self._writer) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if self._closing is not None:
                await asyncio.shield(self._closing)

    async def close(self, code: int, reason: str) -> None:
        """Close with this code; cut the connection when the client does not answer in time."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code, reason))
        await asyncio.shield(self._closing)

    def deliver(self, topic: str, text: str) -> None:
        """Take an event from the hub."""
        self._apply(self._session.broadcast(topic, text))

    async def _read(self) -> None:
        while True:
            try:
                message = await self._websocket.receive(timeout=self._idle_s)
            except TimeoutError:
                await self.close(WSCloseCode.PROTOCOL_ERROR, "idle")
                return
            if message.type is WSMsgType.TEXT:
                try:
                    frame = serializer.decode(message.data)
                except BadFrame as error:
                    await self.close(WSCloseCode.INVALID_TEXT, str(error))
                    return
                self._apply(self._session.receive(frame))
            elif message.type is WSMsgType.BINARY:
                await self.close(WSCloseCode.UNSUPPORTED_DATA, "only text frames are served")
                return
            else:  # closed by either side, or for a broken frame (aiohttp answered that with 1002, 1007 or 1009)
                return

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(text):
                    self._send(text)
                case Subscribe(topic):
                    self._joins[topic] = effect
                    if topic not in self._joining:
                        self._joining[topic] = asyncio.create_task(self._subscribe(topic))
                case Unsubscribe(topic):
                    self._hub.unsubscribe(topic, self)

    async def _subscribe(self, topic: str) -> None:
        while True:
            request, reason = self._joins[topic], None
            try:
                await self._hub.subscribe(topic, self)
            except RuntimeFault as error:
                reason = error.code
            if self._joins[topic] is request:
                break  # else: left and joined again meanwhile, and leaving ended this subscription
        del self._joining[topic], self._joins[topic]
        if reason is None:
            self._apply(self._session.subscribed(request))
        else:
            self._apply(self._session.subscription_failed(request, reason))

    def _send(self, text: str) -> None:
        if self._closing is not None:
            return
        if len(self._queue) >= MAX_QUEUED_FRAMES or self._queued_chars + len(text) > MAX_QUEUED_CHARS:
            log.info("slow_reader_cut_off", queued=len(self._queue))
            self._closing = asyncio.create_task(self._close(WSCloseCode.TRY_AGAIN_LATER, "too slow"))
            return
        self._queue.append(text)
        self._queued_chars += len(text)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._queue:
                text = self._queue.popleft()
                self._queued_chars -= len(text)
                await self._websocket.send_str(text)
        except ConnectionError:
            self._queue.clear()  # the reading side sees the same end
        finally:
            self._writer = None

    async def _close(self, code: int, reason: str) -> None:
        if self._writer is not None:
            if code in (WSCloseCode.TRY_AGAIN_LATER, WSCloseCode.INTERNAL_ERROR):
                self._queue.clear()
            else:
                await asyncio.wait({self._writer}, timeout=CLOSE_S)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code=code, message=reason.encode()[:120])
        except TimeoutError:
            log.info("socket_cut", code=int(code))
        transport = self._request.transport
        if transport is not None and (not self._websocket.closed or transport.get_write_buffer_size()):
            transport.abort()
