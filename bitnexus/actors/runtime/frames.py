"""Frames of the node's wire protocol, sans-I/O.

A connection is a stream of frames: a 4-byte big-endian length of the body, one byte kind, the body.

    CHALLENGE  listener → dialler   the handshake (see handshake.py)
    HELLO      dialler  → listener
    WELCOME    listener → dialler
    REFUSED    listener → dialler   instead of WELCOME, to a client that knows the cookie: why it may not come in
    ENVELOPE   a message of Thespian's own and its sender, pickled (see envelopes.py); never read before the handshake
    BATCH      application messages: a msgpack array (see wire.py)
    ACK        8 bytes: how many ENVELOPE, BATCH and CONTROL frames its sender has taken from this connection so far
    REJECT     8 bytes: as ACK, and the last of them could not be understood
    CONTROL    as BATCH, in the lane of what must not wait behind application messages (see lanes.py)
    PING       empty: say something; any frame is a sign of life
    PONG       empty: the answer to PING, when there is nothing else to say

Before the handshake is done a body is at most `HANDSHAKE_LIMIT` bytes and only handshake kinds exist; after it a body
is at most the decoder's `limit`. A length above the bound is refused from its header alone: no memory is held for it.
"""

from __future__ import annotations

import enum
import struct

PROTOCOL_VERSION = 4
HEADER = struct.Struct(">IB")
HANDSHAKE_LIMIT = 4096
#: Thespian hands whole files and large test messages to `send`; application batches stay far below.
DEFAULT_LIMIT = 64 * 1024 * 1024


class Kind(enum.IntEnum):
    """What a frame carries."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    ENVELOPE = 4
    BATCH = 5
    ACK = 6
    REJECT = 7
    REFUSED = 8
    CONTROL = 9
    PING = 10
    PONG = 11


HANDSHAKE_KINDS = frozenset({Kind.CHALLENGE, Kind.HELLO, Kind.WELCOME, Kind.REFUSED})
_KINDS = {int(kind): kind for kind in Kind}


class FrameError(Exception):
    """The peer does not speak this protocol; the connection must be closed."""


def encode(kind: Kind, body: bytes) -> bytes:
    """One frame as bytes."""
    return HEADER.pack(len(body), kind) + body


class FrameDecoder:
    """Turns any split of a byte stream into its frames.

    Holds at most one incomplete frame: never more than the present limit plus the piece last fed.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._established = False
        self._buffer = bytearray()

    def establish(self, limit: int | None = None) -> None:
        """The handshake is done: from the next frame on, data frames up to `limit` (else its own) are accepted."""
        self._established = True
        if limit is not None:
            self._limit = min(self._limit, limit)

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came from the peer."""
        self._buffer += data

    def next_frame(self) -> tuple[Kind, bytes] | None:
        """The next complete frame, or None when more bytes are needed.

        Raises FrameError: unknown kind, a kind that is not allowed now, or a body over the bound.
        """
        buffer = self._buffer
        if len(buffer) < HEADER.size:
            return None
        length, code = HEADER.unpack_from(buffer)
        kind = _KINDS.get(code)
        if kind is None:
            raise FrameError(f"unknown frame kind {code}")
        if (kind in HANDSHAKE_KINDS) == self._established:
            raise FrameError(f"frame kind {kind.name} is not allowed now")
        if length > (self._limit if self._established else HANDSHAKE_LIMIT):
            raise FrameError(f"frame of {length} bytes is over the bound")
        end = HEADER.size + length
        if len(buffer) < end:
            return None
        body = bytes(memoryview(buffer)[HEADER.size : end])
        del buffer[:end]
        return kind, body
