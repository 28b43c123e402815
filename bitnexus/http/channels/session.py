"""One socket's channels as a state machine: frames in, effects out. No I/O, no clock.

The rules are those of Phoenix.Socket and Phoenix.Channel.Server, by state of the frame's topic:

    state     heartbeat  phx_join                        phx_leave             other event
    (none)    reply ok   judge: subscribe → JOINING      reply ok              reply error "unmatched topic"
    JOINING   reply ok   replaces the join (*)           reply ok, then close  reply error "unmatched topic"
    JOINED    reply ok   replaces the channel (*)        reply ok, then close  reply error "unmatched event"

(*) The new join is answered first, then the old channel's phx_close is sent. A frame whose join_ref is neither null nor
the channel's is stale (the client sent it before it saw that the channel had been replaced) and is dropped.
Broadcasts that arrive while a join waits for its subscription are kept until it is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bitnexus.http.channels.serializer import Frame, Ref, encode
from bitnexus.http.channels.topics import Verdict

MAX_CHANNELS: Final = 100
MAX_WAITING_BROADCASTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text message."""

    text: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to the topic, then call :meth:`Session.subscribed` (or `subscription_failed`) with this effect."""

    topic: str
    join_ref: Ref
    ref: Ref
    serial: int  # which join of this socket, for two joins may carry the same refs


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Nobody on this socket reads the topic any more."""

    topic: str


Effect = Send | Subscribe | Unsubscribe


@dataclass(slots=True)
class _Channel:
    join_ref: Ref
    serial: int
    joined: bool = False
    replaces: _Channel | None = None
    waiting: list[str] = field(default_factory=list)


class Session:
    """The channels of one socket. `judge` decides who may join a topic."""

    def __init__(self, judge: Callable[[str], Verdict]) -> None:
        self._judge = judge
        self._channels: dict[str, _Channel] = {}
        self._joins = 0

    @property
    def topics(self) -> list[str]:
        """The topics with a channel, joined or joining."""
        return list(self._channels)

    def receive(self, frame: Frame) -> list[Effect]:
        """What a client's frame leads to."""
        if frame.topic == "phoenix" and frame.event == "heartbeat":
            return [_reply(frame, None, "ok", {})]
        channel = self._channels.get(frame.topic)
        if frame.event == "phx_join":
            return self._join(frame, channel)
        if channel is not None and not _current(channel.join_ref, frame.join_ref):
            return []
        if frame.event == "phx_leave":
            return self._leave(frame, channel)
        if channel is None or not channel.joined:
            return [_reply(frame, frame.join_ref, "error", {"reason": "unmatched topic"})]
        return [_reply(frame, frame.join_ref, "error", {"reason": "unmatched event"})]

    def subscribed(self, request: Subscribe) -> list[Effect]:
        """The subscription stands: answer the join, then what came meanwhile."""
        channel = self._awaiting(request)
        if channel is None:
            return []
        channel.joined = True
        effects: list[Effect] = [Send(encode(_reply_to(request, "ok", {})))]
        effects += self._close_replaced(request.topic, channel)
        effects += [Send(text) for text in channel.waiting]
        channel.waiting = []
        return effects

    def subscription_failed(self, request: Subscribe, reason: str) -> list[Effect]:
        """The subscription could not be made: the join fails, and the client tries again by itself."""
        channel = self._awaiting(request)
        if channel is None:
            return []
        del self._channels[request.topic]
        effects: list[Effect] = [Send(encode(_reply_to(request, "error", {"reason": reason})))]
        effects += self._close_replaced(request.topic, channel)
        return [*effects, Unsubscribe(request.topic)]

    def broadcast(self, topic: str, text: str) -> list[Effect]:
        """An event of a topic, encoded already."""
        channel = self._channels.get(topic)
        if channel is None:
            return []
        if channel.joined:
            return [Send(text)]
        if len(channel.waiting) == MAX_WAITING_BROADCASTS:
            # Nothing may be dropped silently: the channel ends, and the client joins anew.
            del self._channels[topic]
            error = _event(topic, channel, "phx_error", {"reason": "overflow"})
            return [error, *self._close_replaced(topic, channel), Unsubscribe(topic)]
        channel.waiting.append(text)
        return []

    def _join(self, frame: Frame, old: _Channel | None) -> list[Effect]:
        verdict = self._judge(frame.topic)
        if verdict is not Verdict.ALLOWED:
            return [_reply(frame, frame.join_ref, "error", {"reason": verdict.value})]
        if old is None and len(self._channels) >= MAX_CHANNELS:
            return [_reply(frame, frame.join_ref, "error", {"reason": "too many channels joined"})]
        self._joins += 1
        self._channels[frame.topic] = _Channel(frame.join_ref, self._joins, replaces=old)
        return [Subscribe(frame.topic, frame.join_ref, frame.ref, self._joins)]

    def _leave(self, frame: Frame, channel: _Channel | None) -> list[Effect]:
        if channel is None:
            return [_reply(frame, frame.join_ref, "ok", {})]
        del self._channels[frame.topic]
        return [
            _reply(frame, channel.join_ref, "ok", {}),
            _event(frame.topic, channel, "phx_close", {}),
            *self._close_replaced(frame.topic, channel),
            Unsubscribe(frame.topic),
        ]

    def _awaiting(self, request: Subscribe) -> _Channel | None:
        channel = self._channels.get(request.topic)
        if channel is None or channel.serial != request.serial:
            return None  # left or replaced meanwhile
        return channel

    def _close_replaced(self, topic: str, channel: _Channel) -> list[Effect]:
        """The phx_close of each channel that this one's join replaced, the oldest first."""
        closed: list[Effect] = []
        old, channel.replaces = channel.replaces, None
        while old is not None:
            closed.append(_event(topic, old, "phx_close", {}))
            old = old.replaces
        return closed[::-1]


def _current(joined_as: Ref, join_ref: Ref) -> bool:
    """A client that does not send join_refs, at the join or now, cannot be stale."""
    return joined_as is None or join_ref is None or joined_as == join_ref


def _reply_to(request: Subscribe, status: str, response: dict[str, Any]) -> Frame:
    return Frame(request.join_ref, request.ref, request.topic, "phx_reply", {"status": status, "response": response})


def _reply(frame: Frame, join_ref: Ref, status: str, response: dict[str, Any]) -> Send:
    payload = {"status": status, "response": response}
    return Send(encode(Frame(join_ref, frame.ref, frame.topic, "phx_reply", payload)))


def _event(topic: str, channel: _Channel, event: str, payload: dict[str, Any]) -> Send:
    """An event about the channel itself; its ref is the join_ref, as in Phoenix."""
    return Send(encode(Frame(channel.join_ref, channel.join_ref, topic, event, payload)))
