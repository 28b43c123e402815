"""An event of a topic on its way to the topic's readers: encoded once for all who want it in one form. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from bitnexus.http.channels.websocket_frame import frame


class Encoder(Protocol):
    """The part of a serializer that is needed here."""

    version: str

    def encode_broadcast(self, topic: str, event: str, payload: str) -> str:
        """The message of an event to all readers of a topic."""


class Form(enum.IntEnum):
    """How a reader gets an event."""

    PLAIN = enum.auto()  # as Phoenix sends it
    NUMBERED = enum.auto()  # with `_meta`: for channels that can be resumed
    REPLAYED = enum.auto()  # with `_meta`, which says that it was missed


@dataclass(frozen=True, slots=True)
class Meta:
    """Where an event stands in its topic: of which log, as which event (from 1 on), and since when (RFC 3339)."""

    epoch: str
    seq: int
    ts: str

    def text(self, *, replayed: bool) -> str:
        """As JSON; nothing in it needs to be escaped."""
        tail = ',"replayed":true}' if replayed else "}"
        return f'{{"epoch":"{self.epoch}","seq":{self.seq},"ts":"{self.ts}"{tail}'


class Broadcast:
    """An event of a topic; `payload` is JSON text, of an object if there is a `meta`.

    Without `meta` it does not count; it is a state if it tells how something is by now, for those who asked for that.
    """

    __slots__ = ("_frames", "_texts", "event", "is_state", "meta", "payload", "topic")

    def __init__(
        self, topic: str, event: str, payload: str, meta: Meta | None = None, *, is_state: bool = False
    ) -> None:
        self.topic = topic
        self.event = event
        self.payload = payload
        self.meta = meta
        self.is_state = is_state
        self._texts: dict[tuple[str, Form], str] = {}
        self._frames: dict[tuple[str, Form], bytes] = {}

    def text(self, serializer: Encoder, form: Form = Form.PLAIN) -> str:
        """The message for readers of this version, in this form."""
        key = (serializer.version, form)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = serializer.encode_broadcast(self.topic, self.event, self._payload(form))
        return text

    def frame(self, serializer: Encoder, form: Form = Form.PLAIN) -> bytes:
        """That message as a WebSocket sends it."""
        key = (serializer.version, form)
        framed = self._frames.get(key)
        if framed is None:
            framed = self._frames[key] = frame(self.text(serializer, form))
        return framed

    def numbered(self, *, replayed: bool = False) -> str:
        """The payload with its `_meta`; as it is, if there is none."""
        if self.meta is None:
            return self.payload
        members = self.payload[:-1]
        return f'{members}{"" if members == "{" else ","}"_meta":{self.meta.text(replayed=replayed)}}}'

    def _payload(self, form: Form) -> str:
        return self.payload if form is Form.PLAIN else self.numbered(replayed=form is Form.REPLAYED)
