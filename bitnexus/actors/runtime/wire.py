"""What BATCH and CONTROL frames carry: calls, casts, replies, failures, cancellations, encoded by msgspec, sans-I/O.

A batch is one msgpack array of items. Every item is encoded on its own when it is posted, so its size is known before
it is accepted, and decoded in two steps, so that one message the receiver does not know is refused alone.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import msgspec

from bitnexus.actors.runtime.message import Message
from bitnexus.errors import UnknownMessage

#: An application message over this size is refused at its sender.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class Call(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A message whose sender waits for a reply for `ttl_ms` more milliseconds; `trace` is its correlation id."""

    ref: int
    ttl_ms: int
    trace: str
    body: msgspec.Raw


class Cast(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """A message without a reply."""

    trace: str
    body: msgspec.Raw


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """The answer to the call `ref` of this connection."""

    ref: int
    body: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """The call `ref` of this connection ended in the error `code` (see bitnexus.errors)."""

    ref: int
    code: str
    detail: str


class Cancel(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """Nobody waits for the answer to the call `ref` of this connection any more: it need not be begun."""

    ref: int


Item = Call | Cast | Reply | Failure | Cancel

# msgpack's heads of an array: up to 15 items in one byte, up to 65,535 in three.
_FIXARRAY, _FIXARRAY_MAX, _ARRAY16 = 0x90, 15, b"\xdc"

# What msgspec's decoder raises besides its own errors: text that is none, and nesting without end.
_NOT_OURS = (UnicodeDecodeError, RecursionError)

_encoder = msgspec.msgpack.Encoder()
_batches = msgspec.msgpack.Decoder(list[Item])


def encode_call(ref: int, ttl_ms: int, trace: str, message: Message) -> bytes:
    """A call, ready for `join`."""
    return _encoder.encode(Call(ref, ttl_ms, trace, cast("msgspec.Raw", message)))


def encode_cast(trace: str, message: Message) -> bytes:
    """A cast, ready for `join`."""
    return _encoder.encode(Cast(trace, cast("msgspec.Raw", message)))


def encode_reply(ref: int, message: Message) -> bytes:
    """A reply, ready for `join`."""
    return _encoder.encode(Reply(ref, cast("msgspec.Raw", message)))


def encode_failure(ref: int, code: str, detail: str) -> bytes:
    """A failure item, ready for `join`."""
    return _encoder.encode(Failure(ref, code, detail))


def encode_cancel(ref: int) -> bytes:
    """A cancellation, ready for `join`."""
    return _encoder.encode(Cancel(ref))


def join(items: list[bytes]) -> bytes:
    """The body of a BATCH frame from at most 65,535 encoded items."""
    count = len(items)
    header = bytes((_FIXARRAY | count,)) if count <= _FIXARRAY_MAX else _ARRAY16 + count.to_bytes(2, "big")
    return header + b"".join(items)


def split(body: bytes) -> list[Item]:
    """The items of a BATCH frame; raises msgspec.DecodeError for anything else."""
    try:
        return _batches.decode(body)
    except _NOT_OURS as error:
        raise msgspec.DecodeError(str(error)) from None


def _concrete(root: type[Message]) -> list[type[Message]]:
    found: list[type[Message]] = []
    for child in root.__subclasses__():
        if child.__struct_config__.tag is not None:
            found.append(child)
        found.extend(_concrete(child))
    return found


class _Messages:
    """The decoder of every message class that has been defined so far."""

    def __init__(self) -> None:
        self._known = 0
        self._decoder: msgspec.msgpack.Decoder[Message]

    def decode(self, body: msgspec.Raw) -> Message:
        if not self._known:
            self.refresh()
        return self._decoder.decode(body)

    def refresh(self) -> bool:
        """Take up classes that were defined since; False if there are none."""
        classes = _concrete(Message)
        if len(classes) == self._known:
            return False
        union: Any = functools.reduce(lambda a, b: a | b, cast("list[Any]", classes))
        self._decoder, self._known = msgspec.msgpack.Decoder(union), len(classes)
        return True


_messages = _Messages()


def decode_message(body: msgspec.Raw) -> Message:
    """The message in an item; raises UnknownMessage when its name, version or shape is not known here."""
    try:
        return _messages.decode(body)
    except (msgspec.DecodeError, *_NOT_OURS) as error:
        if _messages.refresh():
            return decode_message(body)
        raise UnknownMessage(str(error)) from None
