"""The two versions of the Phoenix Channels protocol: frames to and from the messages of a transport. Pure.

    1.0.0   {"topic", "event", "payload", "ref"}; a client may add its join_ref
    2.0.0   [join_ref, ref, topic, event, payload], and binary frames (see binary.py)

The references are Phoenix.Socket.V1.JSONSerializer and V2.JSONSerializer. Refs are echoed with the JSON type they came
with.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

import orjson

from bitnexus.errors import BadRequest
from bitnexus.http.channels import binary
from bitnexus.http.channels.frame import BadFrame, Frame, NoBinary, Ref, checked
from bitnexus.http.validation import parse_json

_ELEMENTS: Final = 5
#: A client that does not say which version it speaks speaks this one.
UNSAID: Final = "1.0.0"


class Serializer(Protocol):
    """One version of the protocol. Messages are text (str) or binary (bytes)."""

    version: str

    def decode(self, message: str | bytes) -> Frame:
        """The frame of a client. Raises BadFrame."""

    def encode(self, frame: Frame) -> str | bytes:
        """The message of a frame to one channel."""

    def encode_reply(
        self, join_ref: Ref, ref: Ref, topic: str, status: str, response: dict[str, Any] | bytes
    ) -> str | bytes:
        """The message of the answer to a push."""

    def encode_broadcast(self, topic: str, event: str, payload: str) -> str:
        """The message of an event to all readers of a topic; `payload` is JSON text and is not parsed again."""


class V1:
    """JSON objects. There are no binary frames, and no join_ref in what the server sends."""

    version = "1.0.0"

    def decode(self, message: str | bytes) -> Frame:
        """Raises BadFrame: not JSON, not an object with these four members, or a member of another type."""
        if isinstance(message, bytes):
            raise NoBinary("version 1.0.0 has no binary frames")
        members = _parsed(message)
        if not isinstance(members, dict) or not members.keys() >= {"topic", "event", "payload", "ref"}:
            raise BadFrame("not an object with topic, event, payload and ref")
        return checked(members.get("join_ref"), members["ref"], members["topic"], members["event"], members["payload"])

    def encode(self, frame: Frame) -> str:
        """Raises NoBinary: such a payload cannot reach this client."""
        if isinstance(frame.payload, bytes):
            raise NoBinary("version 1.0.0 has no binary frames")
        return _dump({"topic": frame.topic, "event": frame.event, "payload": frame.payload, "ref": frame.ref})

    def encode_reply(self, join_ref: Ref, ref: Ref, topic: str, status: str, response: dict[str, Any] | bytes) -> str:
        """Raises NoBinary: such a response cannot reach this client."""
        if isinstance(response, bytes):
            raise NoBinary("version 1.0.0 has no binary frames")
        return self.encode(Frame(join_ref, ref, topic, "phx_reply", {"status": status, "response": response}))

    def encode_broadcast(self, topic: str, event: str, payload: str) -> str:
        """See the protocol."""
        return f'{{"topic":{_dump(topic)},"event":{_dump(event)},"payload":{payload},"ref":null}}'


class V2:
    """JSON arrays, and binary frames for payloads of bytes."""

    version = "2.0.0"

    def decode(self, message: str | bytes) -> Frame:
        """Raises BadFrame: neither a JSON array of five nor a binary push, or an element of another type."""
        if isinstance(message, bytes):
            return binary.decode_push(message)
        elements = _parsed(message)
        if not isinstance(elements, list) or len(elements) != _ELEMENTS:
            raise BadFrame("not an array of five elements")
        return checked(*elements)

    def encode(self, frame: Frame) -> str | bytes:
        """See the protocol."""
        if isinstance(frame.payload, bytes):
            return binary.encode_push(frame.join_ref, frame.topic, frame.event, frame.payload)
        return _dump([frame.join_ref, frame.ref, frame.topic, frame.event, frame.payload])

    def encode_reply(
        self, join_ref: Ref, ref: Ref, topic: str, status: str, response: dict[str, Any] | bytes
    ) -> str | bytes:
        """See the protocol."""
        if isinstance(response, bytes):
            return binary.encode_reply(join_ref, ref, topic, status, response)
        return _dump([join_ref, ref, topic, "phx_reply", {"status": status, "response": response}])

    def encode_broadcast(self, topic: str, event: str, payload: str) -> str:
        """See the protocol."""
        return f"[null,null,{_dump(topic)},{_dump(event)},{payload}]"


SERIALIZERS: Final[dict[str, Serializer]] = {"1.0.0": V1(), "2.0.0": V2()}


def _parsed(text: str) -> object:
    try:
        return parse_json(text.encode())
    except (BadRequest, UnicodeEncodeError) as error:
        raise BadFrame("not JSON") from error


def _dump(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # orjson refuses lone surrogates and integers beyond 64 bits, both of which a client's ref or topic may hold.
        return json.dumps(value, separators=(",", ":"))
