"""The body of an ENVELOPE: one of Thespian's own messages and whom it comes from.

    2 bytes, big-endian   the size of the sender
    the sender            the pickle of its address
    the message           its pickle

Two pickles, because the first one is the same in all that a process sends: it is made once, and read once for each
connection. The address is most of what a small message would have to be pickled.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, Final

_SIZE: Final = struct.Struct(">H")


def pickled_sender(address: object) -> bytes:
    """What `encode` begins with, for the process that has this address."""
    pickled = pickle.dumps(address, pickle.HIGHEST_PROTOCOL)
    return _SIZE.pack(len(pickled)) + pickled


def encode(sender: bytes, message: object) -> bytes:
    """The body of an envelope from a `pickled_sender`. Raises what the message's own code raises."""
    return sender + pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


class Reader:
    """Reads the envelopes of one connection, after its handshake: they may run any code."""

    __slots__ = ("_pickled", "_sender")

    def __init__(self) -> None:
        self._pickled = b""
        self._sender: Any = None

    def read(self, body: bytes) -> tuple[Any, Any]:
        """Sender and message. Raises what their own code raises, or what `struct` and `pickle` do for a broken body."""
        (size,) = _SIZE.unpack_from(body)
        end = _SIZE.size + size
        pickled = body[_SIZE.size : end]
        if pickled != self._pickled:
            self._sender = pickle.loads(pickled)  # noqa: S301
            self._pickled = pickled
        return self._sender, pickle.loads(memoryview(body)[end:])  # noqa: S301
