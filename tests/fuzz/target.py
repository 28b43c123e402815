"""What is done with one input. Whatever it is: nothing but the protocol's own errors, no more memory than the bound."""

from __future__ import annotations

import contextlib
import random

import msgspec

from bitnexus.actors import messages  # noqa: F401 - defines what can be decoded
from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.frames import HANDSHAKE_LIMIT, HEADER, FrameDecoder, FrameError, Kind, encode
from bitnexus.actors.runtime.handshake import NONCE_SIZE, Dialler, HandshakeError, Keys, Listener
from bitnexus.actors.runtime.message import GetNames, Names, NamesChanged, ProcessInfo
from bitnexus.errors import UnknownMessage

LIMIT = 4096
_KEYS = Keys.derive(b"c" * 32, b"s" * 32)
_INFO = ProcessInfo("a", "root/a", "127.0.0.1:1", "00" * 8, 1)


def one_input(data: bytes) -> None:
    """The first byte chooses the target."""
    if data:
        _TARGETS[data[0] % len(_TARGETS)](data[1:])


def seeds() -> list[bytes]:
    """Inputs that get far: well-formed talk, one a target."""
    dialler = Dialler(_KEYS, b"d" * NONCE_SIZE, "127.0.0.1:1", "127.0.0.1:2")
    listener = Listener(_KEYS, b"l" * NONCE_SIZE, b"instance", "127.0.0.1:2")
    challenge = listener.challenge()
    hello = dialler.receive_challenge(challenge)
    items = [
        wire.encode_call(1, 5000, "trace", GetNames()),
        wire.encode_cast("", NamesChanged([_INFO], [])),
        wire.encode_reply(1, Names([_INFO])),
        wire.encode_failure(1, "not_found", "there is none"),
        wire.encode_cancel(7),
    ]
    batch = wire.join(items)
    data = encode(Kind.BATCH, batch) + encode(Kind.ACK, (1).to_bytes(8, "big")) + encode(Kind.PING, b"")
    bodies = [b"\x03" + encode(Kind.HELLO, hello), b"\x03" + data, hello, challenge, b"\x01\x02\x03\x04", batch]
    return [bytes((number,)) + body for number, body in enumerate(bodies)]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with some bytes changed, cut out, doubled or put in."""
    result = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(result) + 1)
        match chance.randrange(4):
            case 0 if at < len(result):
                result[at] = chance.randrange(256)
            case 1:
                del result[at : at + chance.randrange(1, 9)]
            case 2:
                result[at:at] = result[at : at + chance.randrange(1, 33)]
            case _:
                result[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(result)


# -- targets ------------------------------------------------------------------------------------------------------


def _stranger(data: bytes) -> None:
    _decode(FrameDecoder(LIMIT), data, HANDSHAKE_LIMIT)


def _member(data: bytes) -> None:
    decoder = FrameDecoder(LIMIT)
    decoder.establish()
    _decode(decoder, data, LIMIT)


def _decode(decoder: FrameDecoder, data: bytes, limit: int) -> None:
    """In pieces of the size that the first byte says."""
    if not data:
        return
    size, stream = data[0] + 1, data[1:]
    for start in range(0, len(stream), size):
        decoder.feed(stream[start : start + size])
        try:
            while (frame := decoder.next_frame()) is not None:
                assert len(frame[1]) <= limit
                if frame[0] in (Kind.BATCH, Kind.CONTROL):
                    _batch(frame[1])
        except FrameError:
            return
        assert decoder.buffered <= HEADER.size + limit + size


def _listener(data: bytes) -> None:
    listener = Listener(_KEYS, b"l" * NONCE_SIZE, b"instance", "127.0.0.1:2")
    with contextlib.suppress(HandshakeError):
        hello = listener.receive_hello(data)
        # Only what was said by who knows the key comes so far: nobody can have altered it.
        dialler = Dialler(_KEYS, b"d" * NONCE_SIZE, hello.address, "127.0.0.1:2")
        assert dialler.receive_challenge(listener.challenge()) == data


def _dialler(data: bytes) -> None:
    dialler = Dialler(_KEYS, b"d" * NONCE_SIZE, "127.0.0.1:1", "127.0.0.1:2")
    with contextlib.suppress(HandshakeError):
        dialler.receive_challenge(data)


def _welcome(data: bytes) -> None:
    dialler = Dialler(_KEYS, b"d" * NONCE_SIZE, "127.0.0.1:1", "127.0.0.1:2")
    dialler.receive_challenge(Listener(_KEYS, b"l" * NONCE_SIZE, b"instance").challenge())
    try:
        dialler.receive_welcome(data)
    except HandshakeError:
        return
    raise AssertionError("a welcome without a proof was taken")


def _batch(data: bytes) -> None:
    try:
        items = wire.split(data)
    except msgspec.DecodeError:
        return
    for item in items:
        if isinstance(item, wire.Call | wire.Cast | wire.Reply):
            with contextlib.suppress(UnknownMessage):
                wire.decode_message(item.body)


_TARGETS = (_stranger, _member, _listener, _dialler, _welcome, _batch)
