"""WebSocket frames as a server sends them, whole messages without a mask (RFC 6455, section 5.2). Pure.

An event is framed once for all its readers and handed to their transports as it is.
"""

from __future__ import annotations

from typing import Final

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_LONGEST_SHORT: Final = 125
_LONGEST_MIDDLE: Final = 0xFFFF


def frame(message: str | bytes) -> bytes:
    """The frame of a message: text, or bytes for a binary one."""
    if isinstance(message, str):
        payload, kind = message.encode(), _TEXT
    else:
        payload, kind = message, _BINARY
    size = len(payload)
    if size <= _LONGEST_SHORT:
        return bytes((kind, size)) + payload
    if size <= _LONGEST_MIDDLE:
        return bytes((kind, 126)) + size.to_bytes(2, "big") + payload
    return bytes((kind, 127)) + size.to_bytes(8, "big") + payload
