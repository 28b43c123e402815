"""The WebSocket of a channel client: `GET /socket/websocket?vsn=2.0.0&token=…`.

Refusals are made before the upgrade and cost no more than a small answer (see admission.py). Afterwards every message
goes through :class:`Client`. What is to be sent goes to the transport at once, as long as that takes it, and then waits
in a bounded queue; a client that does not read it is closed with 1013, one that sends too much with 1008.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from bitnexus.errors import Overloaded
from bitnexus.http.channels.admission import Admission
from bitnexus.http.channels.broadcast import Broadcast, Form
from bitnexus.http.channels.client import Channels, Client
from bitnexus.http.channels.connected import Connected
from bitnexus.http.channels.frame import BadFrame, NoBinary
from bitnexus.http.channels.outbox import Full, Outbox
from bitnexus.http.channels.rate import Flooding
from bitnexus.http.channels.serializer import Serializer
from bitnexus.http.channels.websocket_frame import frame
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.principal import Principal

MAX_FRAME_BYTES: Final = 64 * 1024
IDLE_S: Final = 60.0
CLOSE_S: Final = 1.0
#: How long a join waits for what was sent before to leave; then what the client has missed may be too much for it.
ROOM_S: Final = 10.0
#: With these nothing more is sent: the client does not read, floods, or what it would read is not to be trusted.
_AT_ONCE: Final = frozenset({WSCloseCode.TRY_AGAIN_LATER, WSCloseCode.POLICY_VIOLATION, WSCloseCode.INTERNAL_ERROR})

log = structlog.get_logger(__name__)


class Sockets:
    """The open sockets of one front, and the handler that makes them."""

    def __init__(
        self,
        admission: Admission,
        channels: Channels,
        connected: Connected,
        metrics: RequestMetrics,
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        self._admission = admission
        self._channels = channels
        self._connected = connected
        self._metrics = metrics
        self._idle_s = idle_s
        self._draining = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Upgrade the request and serve the socket until it closes.

        Raises:
            Forbidden: version, origin or token refused.
            Overloaded: this front is draining.
        """
        if self.is_draining():
            raise Overloaded("This front is shutting down")
        principal, serializer = self._admission.admit(request.headers, request.query, request.host)
        websocket = web.WebSocketResponse(
            protocols=("phoenix",), max_msg_size=MAX_FRAME_BYTES, timeout=CLOSE_S, compress=False
        )
        await websocket.prepare(request)
        socket = ChannelSocket(websocket, request, principal, serializer, self._channels, idle_s=self._idle_s)
        self._connected.add(socket)
        self._metrics.sockets += 1
        try:
            if self.is_draining():  # since the upgrade began: whoever drains has not seen this one
                await socket.close(WSCloseCode.SERVICE_RESTART, "restart")
            await socket.serve()
        finally:
            self._connected.remove(socket)
            self._metrics.sockets -= 1
        return websocket

    def is_draining(self) -> bool:
        """Whether new ones are refused."""
        return self._draining

    def refuse(self) -> None:
        """Take no new ones: this front drains."""
        self._draining = True

    def resume(self) -> None:
        """After a drain: take new ones again."""
        self._draining = False


class ChannelSocket:
    """One connected client."""

    __slots__ = (
        "_client",
        "_closing",
        "_heard_at",
        "_idle",
        "_idle_s",
        "_outbox",
        "_request",
        "_websocket",
        "_writer",
        "principal",
    )

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        request: web.Request,
        principal: Principal,
        serializer: Serializer,
        channels: Channels,
        *,
        idle_s: float,
    ) -> None:
        self.principal = principal
        self._websocket = websocket
        self._request = request
        self._idle_s = idle_s
        self._client = Client(principal, serializer, channels, self)
        self._outbox = Outbox()
        self._writer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        self._idle = loop.call_later(idle_s, self._look_whether_idle)

    async def serve(self) -> None:
        """Read until the socket closes."""
        try:
            await self._read()
        except Exception:
            # The error is reported by whoever called; the client learns that it was not its fault.
            await self.close(WSCloseCode.INTERNAL_ERROR, "internal error")
            raise
        finally:
            self._idle.cancel()
            await self._client.close()
            if self._writer is not None:
                self._writer.cancel()
                await asyncio.gather(self._writer, return_exceptions=True)
            if self._closing is not None:
                await asyncio.shield(self._closing)

    async def close(self, code: int, reason: str) -> None:
        """Close with this code; cut the connection when the client does not answer in time."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code, reason))
        await asyncio.shield(self._closing)

    def send(self, message: str | bytes) -> None:
        """Send a message when those before it have left."""
        transport = self._open_transport()
        if transport is not None:
            transport.write(frame(message))
        else:
            self._keep(message)

    def send_event(self, event: Broadcast, serializer: Serializer, form: Form) -> None:
        """Send an event, framed once for all its readers, when the messages before it have left."""
        transport = self._open_transport()
        if transport is not None:
            transport.write(event.frame(serializer, form))
        else:
            self._keep(event.text(serializer, form))

    def _open_transport(self) -> asyncio.Transport | None:
        """The transport, if nothing waits to be sent and it takes more.

        A frame is written as a whole, here and by aiohttp (which does not compress ours), so they do not mix. A
        task for each message would cost more than all the rest of its way.
        """
        protocol = self._request.protocol
        if self._writer is not None or self._closing is not None or protocol.writing_paused or self._websocket.closed:
            return None
        return protocol.transport

    def _keep(self, message: str | bytes) -> None:
        if self._closing is not None:
            return
        try:
            self._outbox.put(message)
        except Full:
            log.info("slow_reader_cut_off", queued=len(self._outbox))
            self._closing = asyncio.create_task(self._close(WSCloseCode.TRY_AGAIN_LATER, "too slow"))
            return
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    def _look_whether_idle(self) -> None:
        """One timer for the life of a socket, that looks on now and then: one for each message would cost more."""
        loop = asyncio.get_running_loop()
        left_s = self._heard_at + self._idle_s - loop.time()
        if left_s > 0:
            self._idle = loop.call_later(left_s, self._look_whether_idle)
        elif self._closing is None:
            self._closing = asyncio.create_task(self._close(WSCloseCode.PROTOCOL_ERROR, "idle"))

    async def room(self) -> None:
        """Return when what waits has left, or after :data:`ROOM_S`."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=ROOM_S)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await self._websocket.receive()
            self._heard_at = loop.time()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return  # closed by either side, or for a broken frame (aiohttp answered that with 1002, 1007 or 1009)
            try:
                self._client.receive(message.data)
            except Flooding:
                log.info("flooding_client_cut_off", user_id=self.principal.user_id)
                await self.close(WSCloseCode.POLICY_VIOLATION, "too many messages")
                return
            except NoBinary as error:
                await self.close(WSCloseCode.UNSUPPORTED_DATA, str(error))
                return
            except BadFrame as error:
                await self.close(WSCloseCode.INVALID_TEXT, str(error))
                return

    async def _write(self) -> None:
        try:
            while self._outbox:
                message = self._outbox.pop()
                if isinstance(message, str):
                    await self._websocket.send_str(message)
                else:
                    await self._websocket.send_bytes(message)
        except ConnectionError:
            self._outbox.clear()  # the reading side sees the same end
        finally:
            self._writer = None

    async def _close(self, code: int, reason: str) -> None:
        if self._writer is not None:
            if code in _AT_ONCE:
                self._outbox.clear()
            else:
                await asyncio.wait({self._writer}, timeout=CLOSE_S)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code=code, message=reason.encode()[:120])
        except TimeoutError:
            log.info("socket_cut", code=int(code))
        transport = self._request.transport
        if transport is None:
            return
        if transport.get_write_buffer_size():
            transport.abort()  # it does not even read
        else:
            transport.close()  # unlike a reset, this lets a client that is late read the code
