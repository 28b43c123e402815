"""One connected client, whatever its transport: its session, its subscriptions, the handlers of its pushes.

A transport passes what it reads to :meth:`Client.receive` and takes what is to be sent by :class:`Outlet`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import structlog

from bitnexus.errors import BitNexusError, CallTimeout, InvalidFields, Refused
from bitnexus.http.channels.broadcast import Broadcast, Form
from bitnexus.http.channels.feed import Recovery
from bitnexus.http.channels.hub import Hub
from bitnexus.http.channels.operators.topics import OperatorTopics
from bitnexus.http.channels.rate import PUSHES_PER_S, Rate
from bitnexus.http.channels.serializer import Serializer
from bitnexus.http.channels.session import Effect, Handle, Send, Session, Subscribe, Unsubscribe
from bitnexus.http.channels.topics import family, is_operators, judge
from bitnexus.principal import Principal

HANDLER_TIMEOUT_S: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Push:
    """What a client pushed to a topic that it has joined; bytes are a binary push."""

    principal: Principal
    topic: str
    payload: dict[str, Any] | bytes


#: Gives the response of the reply "ok"; a BitNexusError is the reply "error", any other exception ends the channel.
Handler = Callable[[Push], Awaitable[dict[str, Any] | bytes]]


@dataclass(frozen=True, slots=True)
class Channels:
    """What all clients of a front share: the hub, the handlers by topic family and event, the limits."""

    hub: Hub
    handlers: Mapping[tuple[str, str], Handler] = field(default_factory=dict)
    pushes_per_s: float = PUSHES_PER_S
    handler_timeout_s: float = HANDLER_TIMEOUT_S
    operators: OperatorTopics | None = None

    def feed(self, topic: str) -> Hub | OperatorTopics:
        """Where the topic's events come from."""
        return self.operators if self.operators is not None and is_operators(topic) else self.hub

    def is_handled(self, topic: str, event: str) -> bool:
        """Whether there is a handler for such a push."""
        return (family(topic), event) in self.handlers


class Outlet(Protocol):
    """The sending side of a transport."""

    def send(self, message: str | bytes) -> None:
        """Send a message. Must not block; a client for which too much waits is to be cut off."""

    def send_event(self, event: Broadcast, serializer: Serializer, form: Form) -> None:
        """Send an event so, as :meth:`send` does; what was encoded for another reader is taken again."""

    async def room(self) -> None:
        """Return when little waits to be sent, or after a bounded time."""


class Client:
    """`outlet` sends to it. All methods are of the loop's thread."""

    __slots__ = (
        "_channels",
        "_closed",
        "_joining",
        "_joins",
        "_outlet",
        "_rate",
        "_resuming",
        "_serializer",
        "_session",
        "_working",
        "principal",
    )

    def __init__(self, principal: Principal, serializer: Serializer, channels: Channels, outlet: Outlet) -> None:
        self.principal = principal
        self._channels = channels
        self._outlet = outlet
        self._serializer = serializer
        self._session = Session(lambda topic: judge(topic, principal), serializer, channels.is_handled)
        self._rate = Rate(channels.pushes_per_s, asyncio.get_running_loop().time())
        self._joins: dict[str, Subscribe] = {}  # by topic, the newest join that waits for its subscription
        self._joining: dict[str, asyncio.Task[None]] = {}
        self._resuming = asyncio.Lock()
        self._working: dict[str, tuple[deque[Handle], asyncio.Task[None]]] = {}  # pushes by topic, and who handles them
        self._closed = False

    def receive(self, message: str | bytes) -> None:
        """Take one message of the client.

        Raises:
            BadFrame: it is no frame of this version.
            Flooding: the client sends more than it may.
        """
        self._rate.take(asyncio.get_running_loop().time())
        self._apply(self._session.receive(self._serializer.decode(message)))

    def deliver(self, event: Broadcast) -> None:
        """Take an event from the hub."""
        form = self._session.form_of(event)
        if form is not None:
            self._outlet.send_event(event, self._serializer, form)  # nearly always: without the detour of effects
        else:
            self._apply(self._session.broadcast(event))

    async def close(self) -> None:
        """Read no topic any more, and handle no push: those under way are given up."""
        self._closed = True
        for topic in {*self._session.topics, *self._joining}:
            self._channels.feed(topic).unsubscribe(topic, self)
        running = [*self._joining.values(), *(task for _, task in self._working.values())]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    self._outlet.send(message)
                case Subscribe(topic):
                    self._joins[topic] = effect
                    if topic not in self._joining and not self._closed:
                        self._joining[topic] = asyncio.create_task(self._subscribe(topic))
                case Unsubscribe(topic):
                    self._channels.feed(topic).unsubscribe(topic, self)
                case Handle():
                    self._work(effect)

    # -- joins ------------------------------------------------------------------------------------------------

    async def _subscribe(self, topic: str) -> None:
        while True:
            request, session = self._joins[topic], self._session
            done: Callable[[], list[Effect]]
            try:
                await self._channels.feed(topic).subscribe(topic, self)
                recovery = await self._recover(request) if request.wishes.numbered and not is_operators(topic) else None
                done = partial(session.subscribed, request, recovery)
            except BitNexusError as error:
                done = partial(session.subscription_failed, request, error.code)
            except Exception:
                # The fault of one join: it is told and logged, and the client's other channels go on.
                log.exception("join_crashed", topic=topic)
                done = partial(session.join_crashed, request)
            if self._joins[topic] is request:
                break  # else: left and joined again meanwhile, and leaving ended this subscription
        del self._joining[topic], self._joins[topic]
        if not self._joining:
            self._joining, self._joins = {}, {}  # a dictionary keeps the room that it once had
        self._apply(done())

    async def _recover(self, request: Subscribe) -> Recovery:
        # One channel after another: what they have missed might together be more than may wait for the client.
        async with self._resuming:
            await self._outlet.room()
            return await self._channels.hub.recover(request.topic, request.wishes.after)

    # -- pushes -----------------------------------------------------------------------------------------------

    def _work(self, push: Handle) -> None:
        working = self._working.get(push.topic)
        if working is not None:
            working[0].append(push)
        elif not self._closed:
            pushes = deque([push])  # bounded by the session
            self._working[push.topic] = (pushes, asyncio.create_task(self._handle_all(push.topic, pushes)))

    async def _handle_all(self, topic: str, pushes: deque[Handle]) -> None:
        while pushes:
            push = pushes.popleft()
            if self._session.handles_still(push):
                self._apply(await self._handle(push))
            else:
                self._session.abandoned(push)
        del self._working[topic]

    async def _handle(self, push: Handle) -> list[Effect]:
        handler = self._channels.handlers[family(push.topic), push.event]
        failure: BitNexusError
        try:
            async with asyncio.timeout(self._channels.handler_timeout_s):
                response = await handler(Push(self.principal, push.topic, push.payload))
            return self._session.replied(push, "ok", response)
        except TimeoutError:
            failure = CallTimeout()
        except BitNexusError as error:
            failure = error
        except Exception:
            # The fault of one channel: it ends, and the client's other channels go on.
            log.exception("channel_crashed", topic=push.topic, event_name=push.event)
            return self._session.crashed(push)
        return self._session.replied(push, "error", _told(failure))


def _told(failure: BitNexusError) -> dict[str, Any]:
    """The response of the reply "error": what an answer over HTTP would say."""
    if isinstance(failure, Refused):
        return {"reason": failure.refusal, "detail": failure.detail, "replayed": failure.replayed}
    told: dict[str, Any] = {"reason": failure.code, "detail": failure.detail}
    if isinstance(failure, InvalidFields):
        told["errors"] = failure.by_field()
    if failure.retry_after_s is not None:
        told["retry_after_s"] = failure.retry_after_s
    return told
