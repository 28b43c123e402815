"""What both versions of the Phoenix Channels protocol carry: one message of a socket, and its bounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

#: What clients send as join_ref and ref: the npm client strings, some others numbers.
Ref = str | int | None

MAX_TOPIC_CHARS: Final = 256
MAX_EVENT_CHARS: Final = 128
#: Of a number, its digits. In UTF-8 at most 252 bytes: what a client sent as JSON can go back in a binary frame.
MAX_REF_CHARS: Final = 63
_MAX_NUMBER: Final = 10**62


class BadFrame(Exception):
    """The message is not a frame of this version."""


class NoBinary(BadFrame):
    """This version has no binary frames."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a socket, in either direction; a payload of bytes travels in a binary frame."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: dict[str, Any] | bytes


def checked(join_ref: object, ref: object, topic: object, event: object, payload: object) -> Frame:
    """The frame of these parts, as a client sent them.

    Raises:
        BadFrame: a part of another type, or longer than allowed.
    """
    if not _is_ref(join_ref) or not _is_ref(ref):
        raise BadFrame("join_ref and ref must be null, a string or a number")
    if not isinstance(topic, str) or not isinstance(event, str):
        raise BadFrame("topic and event must be strings")
    if len(topic) > MAX_TOPIC_CHARS or len(event) > MAX_EVENT_CHARS:
        raise BadFrame("topic or event is too long")
    if not isinstance(payload, dict | bytes):
        raise BadFrame("payload must be an object")
    return Frame(join_ref, ref, topic, event, payload)  # type: ignore[arg-type]  # _is_ref has looked


def _is_ref(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _MAX_NUMBER
    return isinstance(value, str) and len(value) <= MAX_REF_CHARS
