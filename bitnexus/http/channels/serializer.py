"""Frames of the Phoenix Channels protocol V2 (JSON): ``[join_ref, ref, topic, event, payload]``. Pure.

The reference is Phoenix.Socket.V2.JSONSerializer. Refs are echoed with the JSON type they came with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bitnexus.errors import BadRequest
from bitnexus.http.validation import parse_json

#: What clients send as join_ref and ref: the npm client strings, some others numbers.
Ref = str | int | None

VERSION: Final = "2.0.0"
MAX_TOPIC_CHARS: Final = 256
MAX_EVENT_CHARS: Final = 128
MAX_REF_CHARS: Final = 64
_ELEMENTS: Final = 5


class BadFrame(Exception):
    """The text is not a frame of this version."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a socket, in either direction."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: dict[str, Any]


def decode(text: str) -> Frame:
    """The frame in a text message of a client.

    Raises:
        BadFrame: not JSON, not an array of five, or an element of another type.
    """
    try:
        elements = parse_json(text.encode())
    except (BadRequest, UnicodeEncodeError) as error:
        raise BadFrame("not JSON") from error
    if not isinstance(elements, list) or len(elements) != _ELEMENTS:
        raise BadFrame("not an array of five elements")
    join_ref, ref, topic, event, payload = elements
    if not _is_ref(join_ref) or not _is_ref(ref):
        raise BadFrame("join_ref and ref must be null, a string or a number")
    if not isinstance(topic, str) or not isinstance(event, str):
        raise BadFrame("topic and event must be strings")
    if len(topic) > MAX_TOPIC_CHARS or len(event) > MAX_EVENT_CHARS:
        raise BadFrame("topic or event is too long")
    if not isinstance(payload, dict):
        raise BadFrame("payload must be an object")
    return Frame(join_ref, ref, topic, event, payload)


def encode(frame: Frame) -> str:
    """The text message of a frame: compact, not ASCII-escaped."""
    return _dump([frame.join_ref, frame.ref, frame.topic, frame.event, frame.payload])


def encode_broadcast(topic: str, event: str, payload: str) -> str:
    """The text message of an event to all readers of a topic; `payload` is JSON text and is not parsed again."""
    return f"[null,null,{_dump(topic)},{_dump(event)},{payload}]"


def _is_ref(value: object) -> bool:
    if value is None or type(value) is int:
        return True
    return isinstance(value, str) and len(value) <= MAX_REF_CHARS


def _dump(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # orjson refuses lone surrogates and integers beyond 64 bits, both of which a client's ref or topic may hold.
        return json.dumps(value, separators=(",", ":"))
