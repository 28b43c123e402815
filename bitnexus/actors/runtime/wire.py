"""What a BATCH frame carries: calls, casts, replies and failures, encoded by msgspec, sans-I/O.

A batch is one msgpack array of items. Every item is encoded on its own when it is posted, so its size is known before it
is accepted, and decoded in two steps, so that one message the receiver does not know is refused alone.
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


Item = Call | Cast | Reply | Failure

_encoder = msgspec.msgpack.Encoder()
_batches = msgspec.msgpack.Decoder(list[Item])


def encode_item(kind: type[Call | Cast | Reply], *fields: Any, message: Message) -> bytes:
    """One item around `message`, ready for `join`."""
    return _encoder.encode(kind(*fields, cast("msgspec.Raw", message)))


def encode_failure(ref: int, code: str, detail: str) -> bytes:
    """A failure item, ready for `join`."""
    return _encoder.encode(Failure(ref, code, detail))


def join(items: list[bytes]) -> bytes:
    """The body of a BATCH frame from at most 65,535 encoded items."""
    count = len(items)
    header = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return header + b"".join(items)


def split(body: bytes) -> list[Item]:
    """The items of a BATCH frame; raises msgspec.DecodeError for anything else."""
    return _batches.decode(body)


def _concrete(root: type[Message]) -> list[type[Message]]:
    found: list[type[Message]] = []
    for child in root.__subclasses__():
        if child.__struct_config__.tag is not None:
            found.append(child)
        found.extend(_concrete(child))
    return found


@functools.cache
def _messages() -> msgspec.msgpack.Decoder[Message]:
    union: Any = functools.reduce(lambda a, b: a | b, cast("list[Any]", _concrete(Message)))
    return msgspec.msgpack.Decoder(union)


def decode_message(body: msgspec.Raw) -> Message:
    """The message in an item; raises UnknownMessage when its name, version or shape is not known here."""
    try:
        return _messages().decode(body)
    except msgspec.DecodeError as error:
        raise UnknownMessage(str(error)) from None
