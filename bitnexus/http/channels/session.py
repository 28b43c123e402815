"""One socket's channels as a state machine: frames in, effects out. No I/O, no clock.

The rules are those of Phoenix.Socket and Phoenix.Channel.Server, by state of the frame's topic:

    state     heartbeat  phx_join                        phx_leave             other event
    (none)    reply ok   judge: subscribe → JOINING      reply ok              reply error "unmatched topic"
    JOINING   reply ok   replaces the join (*)           reply ok, then close  reply error "unmatched topic"
    JOINED    reply ok   replaces the channel (*)        reply ok, then close  handle, or reply error "unmatched event"

(*) The new join is answered first, then the old channel's phx_close is sent. A frame whose join_ref is neither null nor
the channel's is stale (the client sent it before it saw that the channel had been replaced) and is dropped.
Broadcasts that arrive while a join waits for its subscription are kept until it is answered; between the answer and
them comes what a client that resumes has missed (see feed.py), and nothing that it has got comes again. An answer to a
push whose channel was left or replaced meanwhile goes to nobody. A join that fails for a fault of ours is "join
crashed"; a handler that does ends its channel by phx_error, and the client joins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bitnexus.http.channels.broadcast import Broadcast, Form
from bitnexus.http.channels.feed import Recovery
from bitnexus.http.channels.frame import Frame, Ref
from bitnexus.http.channels.resume import PLAIN, BadJoin, Wishes, wishes_of
from bitnexus.http.channels.serializer import Serializer
from bitnexus.http.channels.topics import Verdict

MAX_CHANNELS: Final = 100
MAX_WAITING_BROADCASTS: Final = 1_000
#: Pushes of one socket whose answer is not there yet.
MAX_PUSHES: Final = 100


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message: text, or bytes for a binary one."""

    message: str | bytes


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to the topic, then call :meth:`Session.subscribed` (or `subscription_failed`) with this effect."""

    topic: str
    join_ref: Ref
    ref: Ref
    serial: int  # which join of this socket, for two joins may carry the same refs
    wishes: Wishes = PLAIN


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Nobody on this socket reads the topic any more."""

    topic: str


@dataclass(frozen=True, slots=True)
class Handle:
    """Have the push handled, those of one channel in their order, then call `replied` or `crashed` with this effect."""

    topic: str
    event: str
    payload: dict[str, Any] | bytes
    ref: Ref
    serial: int  # the join it was pushed to


Effect = Send | Subscribe | Unsubscribe | Handle


@dataclass(slots=True)
class _Channel:
    join_ref: Ref
    serial: int
    wishes: Wishes
    joined: bool = False
    replaces: _Channel | None = None
    waiting: list[Broadcast] = field(default_factory=list)
    after: int = 0  # the number of the event up to which the client has, or has been sent, all

    @property
    def form(self) -> Form:
        """How it gets events."""
        return Form.NUMBERED if self.wishes.numbered else Form.PLAIN

    def takes(self, event: Broadcast) -> bool:
        """Whether the event is for this channel, now that it is joined."""
        if event.is_state:
            return self.wishes.balances
        return event.meta is None or event.meta.seq > self.after


class Session:
    """The channels of one socket that speaks `serializer`'s version.

    `judge` decides who may join a topic; `is_handled`, of topic and event, whether there is a handler for a push.
    """

    __slots__ = ("_channels", "_is_handled", "_joins", "_judge", "_pushes", "_serializer")

    def __init__(
        self,
        judge: Callable[[str], Verdict],
        serializer: Serializer,
        is_handled: Callable[[str, str], bool] = lambda _topic, _event: False,
    ) -> None:
        self._judge = judge
        self._serializer = serializer
        self._is_handled = is_handled
        self._channels: dict[str, _Channel] = {}
        self._joins = 0
        self._pushes = 0  # handed out to be handled, and not done

    @property
    def topics(self) -> list[str]:
        """The topics with a channel, joined or joining."""
        return list(self._channels)

    def receive(self, frame: Frame) -> list[Effect]:
        """What a client's frame leads to."""
        if frame.topic == "phoenix" and frame.event == "heartbeat":
            return [self._reply(None, frame.ref, "phoenix", "ok", {})]
        channel = self._channels.get(frame.topic)
        if frame.event == "phx_join":
            return self._join(frame, channel)
        if channel is not None and not _current(channel.join_ref, frame):
            return []
        if frame.event == "phx_leave":
            return self._leave(frame, channel)
        if channel is None or not channel.joined:
            # Without a join_ref, as in Phoenix: there is no channel that it could be of.
            return [self._reply(None, frame.ref, frame.topic, "error", {"reason": "unmatched topic"})]
        return [self._push(frame, channel)]

    # -- joins ------------------------------------------------------------------------------------------------

    def subscribed(self, request: Subscribe, recovery: Recovery | None = None) -> list[Effect]:
        """The subscription stands: answer the join, then what was missed, then what came meanwhile.

        `recovery`: for a join that wishes for numbers.
        """
        channel = self._of(request.topic, request.serial)
        if channel is None:
            return []  # left or replaced meanwhile
        channel.joined = True
        response = {} if recovery is None else recovery.reply()
        effects: list[Effect] = [self._reply(request.join_ref, request.ref, request.topic, "ok", response)]
        effects += self._close_replaced(request.topic, channel)
        if recovery is not None:
            channel.after = recovery.seq
            effects += [Send(event.text(self._serializer, Form.REPLAYED)) for event in recovery.missed]
        form = channel.form
        effects += [Send(event.text(self._serializer, form)) for event in channel.waiting if channel.takes(event)]
        channel.waiting = []
        return effects

    def subscription_failed(self, request: Subscribe, reason: str) -> list[Effect]:
        """The subscription could not be made: the join fails, and the client tries again by itself."""
        channel = self._of(request.topic, request.serial)
        if channel is None:
            return []
        del self._channels[request.topic]
        effects: list[Effect] = [self._reply(request.join_ref, request.ref, request.topic, "error", {"reason": reason})]
        effects += self._close_replaced(request.topic, channel)
        return [*effects, Unsubscribe(request.topic)]

    def join_crashed(self, request: Subscribe) -> list[Effect]:
        """As :meth:`subscription_failed`, for a fault of ours."""
        return self.subscription_failed(request, "join crashed")

    # -- pushes and broadcasts --------------------------------------------------------------------------------

    def replied(self, push: Handle, status: str, response: dict[str, Any] | bytes) -> list[Effect]:
        """The push was handled: `status` is "ok" or "error"."""
        channel = self._of(push.topic, push.serial)
        replies: list[Effect] = []
        if channel is not None:
            replies.append(self._reply(channel.join_ref, push.ref, push.topic, status, response))
        self._pushes -= 1  # only now: a response that cannot be sent is a crash of its handler
        return replies

    def crashed(self, push: Handle) -> list[Effect]:
        """The push's handler failed for a fault of ours: its channel ends."""
        self._pushes -= 1
        channel = self._of(push.topic, push.serial)
        return [] if channel is None else self._end(push.topic, channel, "channel_crash")

    def handles_still(self, push: Handle) -> bool:
        """Whether the push's channel is there: what nobody waits for need not be begun."""
        return self._of(push.topic, push.serial) is not None

    def abandoned(self, push: Handle) -> None:
        """The push was not begun, for :meth:`handles_still` said so."""
        assert not self.handles_still(push)
        self._pushes -= 1

    def broadcast(self, event: Broadcast) -> list[Effect]:
        """An event of a topic, for its channel."""
        form = self.form_of(event)
        if form is not None:
            return [Send(event.text(self._serializer, form))]
        channel = self._channels.get(event.topic)
        if channel is None or channel.joined:
            return []
        if len(channel.waiting) == MAX_WAITING_BROADCASTS:
            # Nothing may be dropped silently: the channel ends, and the client joins anew.
            return self._end(event.topic, channel, "overflow")
        channel.waiting.append(event)
        return []

    def form_of(self, event: Broadcast) -> Form | None:
        """How the event is to be sent; None if it is not for its channel, or that is not joined (yet)."""
        channel = self._channels.get(event.topic)
        return channel.form if channel is not None and channel.joined and channel.takes(event) else None

    # -- inside -----------------------------------------------------------------------------------------------

    def _join(self, frame: Frame, old: _Channel | None) -> list[Effect]:
        verdict = self._judge(frame.topic)
        if verdict is not Verdict.ALLOWED:
            join_ref = None if verdict is Verdict.UNKNOWN else frame.join_ref
            return [self._reply(join_ref, frame.ref, frame.topic, "error", {"reason": verdict.value})]
        if old is None and len(self._channels) >= MAX_CHANNELS:
            reason = {"reason": "too many channels joined"}
            return [self._reply(frame.join_ref, frame.ref, frame.topic, "error", reason)]
        try:
            wishes = wishes_of(frame.payload)
        except BadJoin as error:
            reply = {"reason": "bad_join", "detail": str(error)}
            return [self._reply(frame.join_ref, frame.ref, frame.topic, "error", reply)]
        self._joins += 1
        self._channels[frame.topic] = _Channel(frame.join_ref, self._joins, wishes, replaces=old)
        return [Subscribe(frame.topic, frame.join_ref, frame.ref, self._joins, wishes)]

    def _push(self, frame: Frame, channel: _Channel) -> Effect:
        if not self._is_handled(frame.topic, frame.event):
            return self._reply(channel.join_ref, frame.ref, frame.topic, "error", {"reason": "unmatched event"})
        if self._pushes >= MAX_PUSHES:
            return self._reply(channel.join_ref, frame.ref, frame.topic, "error", {"reason": "too many pushes"})
        self._pushes += 1
        return Handle(frame.topic, frame.event, frame.payload, frame.ref, channel.serial)

    def _leave(self, frame: Frame, channel: _Channel | None) -> list[Effect]:
        if channel is None:
            return [self._reply(frame.join_ref, frame.ref, frame.topic, "ok", {})]
        del self._channels[frame.topic]
        return [
            self._reply(channel.join_ref, frame.ref, frame.topic, "ok", {}),
            self._event(frame.topic, channel, "phx_close", {}),
            *self._close_replaced(frame.topic, channel),
            Unsubscribe(frame.topic),
        ]

    def _end(self, topic: str, channel: _Channel, reason: str) -> list[Effect]:
        del self._channels[topic]
        error = self._event(topic, channel, "phx_error", {"reason": reason})
        return [error, *self._close_replaced(topic, channel), Unsubscribe(topic)]

    def _of(self, topic: str, serial: int) -> _Channel | None:
        """The channel of this join, if it was neither left nor replaced."""
        channel = self._channels.get(topic)
        return channel if channel is not None and channel.serial == serial else None

    def _close_replaced(self, topic: str, channel: _Channel) -> list[Effect]:
        """The phx_close of each channel that this one's join replaced, the oldest first."""
        closed: list[Effect] = []
        old, channel.replaces = channel.replaces, None
        while old is not None:
            closed.append(self._event(topic, old, "phx_close", {}))
            old = old.replaces
        return closed[::-1]

    def _reply(self, join_ref: Ref, ref: Ref, topic: str, status: str, response: dict[str, Any] | bytes) -> Send:
        return Send(self._serializer.encode_reply(join_ref, ref, topic, status, response))

    def _event(self, topic: str, channel: _Channel, event: str, payload: dict[str, Any]) -> Send:
        """An event about the channel itself; its ref is the join_ref, as in Phoenix."""
        return Send(self._serializer.encode(Frame(channel.join_ref, channel.join_ref, topic, event, payload)))


def _current(joined_as: Ref, frame: Frame) -> bool:
    """A client that does not send join_refs, at the join or now, cannot be stale."""
    given = frame.join_ref
    if joined_as is None or given is None or joined_as == given:
        return True
    # In a binary frame every ref is text.
    return isinstance(frame.payload, bytes) and str(joined_as) == given
