"""Binary frames of the Phoenix Channels protocol V2. Pure.

One byte says which kind, one byte each how long the texts are, in bytes of UTF-8; then the texts, then the data:

    client push   00 join_ref ref topic event
    server push   00 join_ref topic event
    reply         01 join_ref ref topic status
    broadcast     02 topic event

What is null elsewhere is empty here. The reference is Phoenix.Socket.V2.JSONSerializer.
"""

from __future__ import annotations

from typing import Final

from bitnexus.http.channels.frame import BadFrame, Frame, Ref, checked

PUSH: Final = 0
REPLY: Final = 1
BROADCAST: Final = 2
_MAX_TEXT_BYTES: Final = 255
_HEADER_BYTES: Final = 5


def decode_push(data: bytes) -> Frame:
    """The frame in a binary message of a client; empty refs are null.

    Raises:
        BadFrame: of another kind, shorter than it says, or a text that is not UTF-8.
    """
    if len(data) < _HEADER_BYTES or data[0] != PUSH:
        raise BadFrame("not a binary push")
    texts: list[str] = []
    at = _HEADER_BYTES
    for size in data[1:_HEADER_BYTES]:
        end = at + size
        if end > len(data):
            raise BadFrame("shorter than it says")
        try:
            texts.append(data[at:end].decode())
        except UnicodeDecodeError as error:
            raise BadFrame("not UTF-8") from error
        at = end
    join_ref, ref, topic, event = texts
    return checked(join_ref or None, ref or None, topic, event, data[at:])


def encode_push(join_ref: Ref, topic: str, event: str, data: bytes) -> bytes:
    """A message of the server to one channel. Raises ValueError for a text of more than 255 bytes."""
    return _frame(PUSH, (_text(join_ref), topic, event), data)


def encode_reply(join_ref: Ref, ref: Ref, topic: str, status: str, data: bytes) -> bytes:
    """The answer to a push. Raises ValueError for a text of more than 255 bytes."""
    return _frame(REPLY, (_text(join_ref), _text(ref), topic, status), data)


def encode_broadcast(topic: str, event: str, data: bytes) -> bytes:
    """An event to all readers of a topic. Raises ValueError for a text of more than 255 bytes."""
    return _frame(BROADCAST, (topic, event), data)


def _text(ref: Ref) -> str:
    return "" if ref is None else str(ref)


def _frame(kind: int, texts: tuple[str, ...], data: bytes) -> bytes:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    for text in encoded:
        if len(text) > _MAX_TEXT_BYTES:
            raise ValueError(f"{len(text)} bytes do not fit into a binary frame: 255 do")
    return bytes((kind, *map(len, encoded))) + b"".join(encoded) + data
