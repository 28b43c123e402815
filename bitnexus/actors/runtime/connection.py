"""One connection between two processes of the node: handshake, acknowledged frames, batches that form by themselves.

Items posted during one turn of the loop leave together as one BATCH. At most `WINDOW_FRAMES` frames (and about
`WINDOW_BYTES`) are unacknowledged; what is posted meanwhile waits and leaves together when an acknowledgement comes. So
a call at rest leaves at once, and under load batches grow. The waiting queue is bounded: `post` raises Overloaded.
What the node itself must say has a lane of its own (see lanes.py): it never waits for the application.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from bitnexus.actors.runtime import lanes, wire
from bitnexus.actors.runtime.envelopes import Reader
from bitnexus.actors.runtime.frames import FrameDecoder, FrameError, Kind, encode
from bitnexus.actors.runtime.introduction import Host, Introduction
from bitnexus.actors.runtime.lanes import Queue, Window
from bitnexus.errors import BitNexusError
from bitnexus.principal import Principal

#: Thespian's own envelopes that may wait for one peer.
MAX_QUEUED_ENVELOPES = 10_000
#: What waits for a client that does not read, and the largest frame it may send: one message and what is around it.
CLIENT_QUEUED_BYTES = 8 * 1024 * 1024
CLIENT_FRAME_LIMIT = wire.MAX_MESSAGE_BYTES + 64 * 1024
_ACK_SIZE = 8

#: The fate of one envelope, told exactly once: "sent", "rejected" (the peer could not read it) or "dead" (the
#: connection is gone).
Delivery = Callable[[str], None]


class Cancellable(Protocol):
    """A call of the peer's that may be withdrawn."""

    cancelled: bool


class Endpoint(Host, Protocol):
    """What a connection tells its owner."""

    frame_limit: int
    is_brief: bool  # its loop runs for one answer at a time: whatever can wait should leave with the next question

    def established(self, connection: Connection) -> None:
        """The handshake is done."""

    def envelope_received(self, connection: Connection, body: bytes) -> bool:
        """An ENVELOPE came; False when it cannot be read."""

    def items_received(self, connection: Connection, items: list[wire.Item]) -> None:
        """A BATCH came."""

    def closed(self, connection: Connection, reason: str) -> None:
        """The connection is gone; `reason` says why in words."""


class Connection(asyncio.Protocol):
    """Either end of a connection; `dialled` tells which."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop, *, dialled: bool) -> None:
        self.dialled = dialled
        self.peer_address = ""  # where the peer listens; set by whoever dials, or by the peer's hello
        self.remote = ""  # the peer's end of the socket, for log lines
        self.peer_instance = b""  # known to the dialler only
        self.expected_instance = b""  # whom the dialler means to reach; empty: whoever listens there
        self.is_established = False
        self.is_closed = False
        self.client: Principal | None = None  # whom the peer speaks for; None: a process of the node, or dialled by us
        self.refusal: BitNexusError | None = None  # why the listener does not let this client in
        self.dialling: asyncio.Task[None] | None = None
        self.refusals = 0  # calls of a client's that it may not make
        self.open_calls = 0  # calls of the peer's that have no answer yet; counted by the process
        self.heard = True  # something has come since the watch last looked (see liveness.py)
        self.silent_since = loop.time()
        self.silence_limit_s: float | None = None  # longer than this without a sign of life closes it
        self.taken: dict[int, Cancellable] = {}  # those calls, by their number
        self.cancelled_early: dict[int, None] = {}  # numbers of calls that the peer withdrew before they came
        self.envelopes = Reader()  # for whoever takes them
        self._endpoint = endpoint
        self._loop = loop
        self._decoder = FrameDecoder(endpoint.frame_limit)
        self._transport: asyncio.Transport | None = None
        self._introduction = Introduction(self, endpoint, loop)
        self._reason = "closed by the peer"
        self._unacked: deque[tuple[Window, int, Delivery | None]] = deque()
        self._acked = 0  # frames of ours the peer has taken
        self._received = 0  # frames of the peer's that we have taken
        self._envelopes: deque[tuple[bytes, Delivery]] = deque()
        self._items = Queue(lanes.MAX_QUEUED_ITEMS, lanes.MAX_QUEUED_BYTES)
        self._control = Queue(lanes.MAX_CONTROL_ITEMS, lanes.MAX_CONTROL_BYTES)
        self._envelope_window = Window(lanes.WINDOW_FRAMES, lanes.WINDOW_BYTES)
        self._batch_window = Window(lanes.WINDOW_FRAMES, lanes.WINDOW_BYTES)
        self._control_window = Window(lanes.CONTROL_WINDOW_FRAMES, lanes.WINDOW_BYTES)
        self._is_choked = False  # the socket takes no more just now
        self._flush_scheduled = False
        self._ack_due = False
        self._ack_sent = 0  # as of `_received`
        self._ack_timer: asyncio.TimerHandle | None = None
        self._pong_due = False

    # -- the life of the connection --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self.remote = _name(transport.get_extra_info("peername"))
        if self.is_closed:
            self._transport.abort()
            return
        self._introduction.begin(_name(transport.get_extra_info("sockname")))

    def data_received(self, data: bytes) -> None:
        """Feed the decoder and act on every complete frame: on batches after all that must not wait for them."""
        decoder = self._decoder
        decoder.feed(data)
        self.heard = True
        before = self._received
        batches: list[bytes] = []
        try:
            while not self.is_closed and (frame := decoder.next_frame()) is not None:
                if frame[0] is Kind.BATCH:
                    self._received += 1
                    batches.append(frame[1])
                else:
                    self._frame_received(*frame)
            for body in batches:
                if not self.is_closed:
                    self._items_received(body)
        except FrameError as error:
            self.close(str(error))
        if self._received != before:
            self._ack_due = True  # it leaves with what the handlers post, now or very soon
            is_urgent = self._received - before > len(batches) and not self._endpoint.is_brief
            if is_urgent or self._received - self._ack_sent >= lanes.ACK_FRAMES:
                self._schedule_flush()
            elif self._ack_timer is None:
                self._ack_timer = self._loop.call_later(lanes.ACK_DELAY_S, self._ack_overdue)

    def _ack_overdue(self) -> None:
        self._ack_timer = None
        if self._ack_due:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner and fail what was in flight."""
        reason = self._reason if exc is None else str(exc)
        if self.dialled and not self.is_established:
            reason = f"it broke the handshake off ({reason}): it may not know this cookie or certificate"
        self.close(reason)

    def close(self, reason: str, *, flush: bool = False) -> None:
        """Close now; what is not acknowledged fails as dead. With `flush` what was written leaves. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        self._introduction.end()
        if self._transport is not None:
            self._transport.close() if flush else self._transport.abort()
        elif self.dialling is not None:
            self.dialling.cancel()
        failed = [delivery for _, _, delivery in self._unacked if delivery is not None]
        failed += [delivery for _, delivery in self._envelopes]
        self._unacked.clear()
        self._envelopes.clear()
        self._items.clear()
        self._control.clear()
        self._endpoint.closed(self, reason)
        for delivery in failed:
            delivery("dead")

    @property
    def unsent(self) -> int:
        """Frames and items that the peer has not acknowledged."""
        return len(self._unacked) + len(self._envelopes) + len(self._items) + len(self._control)

    def may_lead_to(self, instance: bytes) -> bool:
        """Whether this dialled connection leads to `instance`, as far as is known yet; b"" means any."""
        known = self.peer_instance or self.expected_instance
        return not instance or not known or known == instance

    # -- incoming --------------------------------------------------------------------------------------------

    def _frame_received(self, kind: Kind, body: bytes) -> None:
        match kind:
            case Kind.CONTROL:
                self._received += 1
                self._items_received(body)
            case Kind.ACK | Kind.REJECT if len(body) == _ACK_SIZE:
                self._ack_received(int.from_bytes(body, "big"), rejected=kind is Kind.REJECT)
            case Kind.ENVELOPE if self.client is None:  # it is unpickled: from processes of this node alone
                self._received += 1
                if not self._endpoint.envelope_received(self, body) and not self.is_closed:
                    self.write(self._acknowledgement(Kind.REJECT))
            case Kind.PING if not body:
                self._pong_due = True
                self._schedule_flush()
            case Kind.PONG if not body:
                pass  # it was heard
            case _:
                self._introduction.frame_received(kind, body)

    def _items_received(self, body: bytes) -> None:
        try:
            items = wire.split(body)
        except msgspec.DecodeError as error:
            raise FrameError(f"malformed batch: {error}") from None
        self._endpoint.items_received(self, items)

    def establish(self) -> None:
        """The handshake is done: what waits may leave."""
        self.is_established = True
        self._decoder.establish(CLIENT_FRAME_LIMIT if self.client is not None else None)
        if self.client is not None:
            self._items.max_bytes = CLIENT_QUEUED_BYTES
        self._introduction.done()
        self._endpoint.established(self)
        self._flush()

    def _ack_received(self, count: int, *, rejected: bool) -> None:
        if not self._acked <= count <= self._acked + len(self._unacked):
            raise FrameError("acknowledgement of what was not sent")
        while self._acked < count:
            self._acked += 1
            window, size, delivery = self._unacked.popleft()
            window.acknowledged(size)
            if delivery is not None:
                delivery("rejected" if rejected and self._acked == count else "sent")
        if self._envelopes or self._items or self._control:
            self._flush()

    def _acknowledgement(self, kind: Kind) -> bytes:
        self._ack_sent = self._received
        return encode(kind, self._received.to_bytes(_ACK_SIZE, "big"))

    # -- outgoing --------------------------------------------------------------------------------------------

    def send_envelope(self, body: bytes, delivery: Delivery) -> None:
        """Send one of Thespian's messages; `delivery` learns its fate."""
        if self.is_closed or len(self._envelopes) >= MAX_QUEUED_ENVELOPES:
            delivery("dead")
            return
        self._envelopes.append((body, delivery))
        self._flush()

    def post(self, item: bytes) -> None:
        """Queue an encoded item for the next batch.

        Raises Overloaded, before any effect, when the item is too large or too much is waiting. Over a closed
        connection nothing is sent: its owner has been told of the end.
        """
        if not self.is_closed:
            self._items.put(item)
            self._schedule_flush()

    def post_control(self, item: bytes) -> None:
        """As `post`, in the lane of the node's own messages: refused only by a peer that is as good as lost."""
        if not self.is_closed:
            self._control.put(item)
            self._schedule_flush()

    def cancel(self, ref: int) -> None:
        """Tell the peer, if there is room, that nobody waits for the answer to our call `ref` any more."""
        if not self.is_closed and not self._control.is_half_full:
            self.post_control(wire.encode_cancel(ref))

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self.is_established and not self.is_closed and not self._is_choked:
            self.write(encode(Kind.PING, b""))

    def pause_writing(self) -> None:
        """The socket is full: batches wait, so that what must not wait for them finds few of them before it."""
        self._is_choked = True

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._is_choked = False
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """One write: the acknowledgement that is due, and whatever the window lets through."""
        self._flush_scheduled = False
        if not self.is_established or self.is_closed:
            return
        frames: list[bytes] = []
        if self._ack_due:
            self._ack_due = False
            frames.append(self._acknowledgement(Kind.ACK))
        elif self._pong_due:
            frames.append(encode(Kind.PONG, b""))
        self._pong_due = False
        if self._control:
            self._take_items(self._control, self._control_window, Kind.CONTROL, frames)
        while self._envelopes and self._envelope_window.is_open:
            body, delivery = self._envelopes.popleft()
            frames.append(self._numbered(self._envelope_window, Kind.ENVELOPE, body, delivery))
        if self._items and not self._is_choked:
            self._take_items(self._items, self._batch_window, Kind.BATCH, frames)
        if frames:
            self.write(b"".join(frames))

    def _take_items(self, queue: Queue, window: Window, kind: Kind, frames: list[bytes]) -> None:
        while queue and window.is_open:
            body = wire.join(queue.take(lanes.MAX_BATCH_ITEMS, lanes.MAX_BATCH_BYTES))
            frames.append(self._numbered(window, kind, body, None))

    def _numbered(self, window: Window, kind: Kind, body: bytes, delivery: Delivery | None) -> bytes:
        self._unacked.append((window, len(body), delivery))
        window.sent(len(body))
        return encode(kind, body)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._transport is not None:
            self._transport.write(data)


def _name(address: object) -> str:
    """A socket's address as "host:port"; "" for what has none."""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and address else ""
