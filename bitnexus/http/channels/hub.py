"""One front's readers of topics: a topic is subscribed once at the notifier, an event encoded once for all readers.

Delivery: events of a topic reach each reader in the order of `seq`, none twice. When the notifier dies the hub
subscribes again, from the last position it has seen, as soon as the next one is registered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from bitnexus.actors.messages import Subscribe, Subscribed, TopicEvent, Unsubscribe
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import RuntimeFault
from bitnexus.http.answers import expect
from bitnexus.http.channels.serializer import Broadcast

NOTIFIER: Final = "notifier"
#: Topics in one message when all are subscribed anew.
TOPICS_PER_MESSAGE: Final = 1_000
RETRY_S: Final = 0.5

#: Runs a coroutine as a task whose failure somebody sees.
Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Who reads a topic: must not block, and must hold a bound on what it keeps."""

    def deliver(self, event: Broadcast) -> None:
        """Take one event."""


class _Topic:
    __slots__ = ("opening", "position", "readers")

    def __init__(self) -> None:
        self.readers: dict[Reader, None] = {}  # in the order they came
        self.position = -1  # every event up to here was delivered, or came before the subscription
        self.opening: asyncio.Task[None] | None = None


class Hub:
    """The topics that sockets of this front read. `front` is the name the notifier sends events to."""

    def __init__(self, node: Node, front: str, timeout_s: float, spawn: Spawn) -> None:
        self._spawn = spawn
        self._node = node
        self._front = front
        self._timeout_s = timeout_s
        self._topics: dict[str, _Topic] = {}
        self._resubscribing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the notifier's deaths and births from now on."""
        self._node.monitor(NOTIFIER, on_up=self._notifier_up, on_down=self._notifier_down)

    async def close(self) -> None:
        """Stop what is under way."""
        tasks = [topic.opening for topic in self._topics.values() if topic.opening] + [self._resubscribing]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    @property
    def topics(self) -> list[str]:
        """The topics with at least one reader."""
        return list(self._topics)

    async def subscribe(self, topic: str, reader: Reader) -> None:
        """Return when every event of the topic from now on will be delivered to the reader.

        Events may be delivered before this returns. Repeating it is harmless.

        Raises:
            RuntimeFault: the notifier did not answer in time; the reader is not subscribed.
        """
        entry = self._topics.get(topic)
        if entry is None:
            entry = self._topics[topic] = _Topic()
            entry.opening = asyncio.create_task(self._open(topic, entry))
            # Whoever waits gets the error; there may be nobody left who does.
            entry.opening.add_done_callback(_look_at_exception)
        entry.readers[reader] = None
        if entry.opening is not None:
            await asyncio.shield(entry.opening)

    def unsubscribe(self, topic: str, reader: Reader) -> None:
        """The reader gets no more events of the topic."""
        entry = self._topics.get(topic)
        if entry is None:
            return
        entry.readers.pop(reader, None)
        if not entry.readers:
            del self._topics[topic]
            self._node.cast(NOTIFIER, Unsubscribe(self._front, [topic]))

    def deliver(self, event: TopicEvent) -> None:
        """Pass an event of the notifier to the topic's readers."""
        entry = self._topics.get(event.topic)
        if entry is None:
            # The subscription outlived its last reader, say by a repeated call: end it.
            self._node.cast(NOTIFIER, Unsubscribe(self._front, [event.topic]))
            return
        if event.seq <= entry.position:
            return
        entry.position = event.seq
        broadcast = Broadcast(event.topic, event.event, event.payload)
        for reader in tuple(entry.readers):
            reader.deliver(broadcast)

    async def _open(self, topic: str, entry: _Topic) -> None:
        try:
            answer = await self._node.call(
                NOTIFIER, Subscribe(self._front, [topic]), timeout_s=self._timeout_s, retry=True
            )
        except BaseException:
            if self._topics.get(topic) is entry:
                del self._topics[topic]
            raise
        entry.position = max(entry.position, expect(Subscribed, answer).seq)
        entry.opening = None

    def _notifier_down(self, *_: object) -> None:
        self._stop_resubscribing()

    def _notifier_up(self, *_: object) -> None:
        self._stop_resubscribing()
        self._resubscribing = self._spawn(self._resubscribe())

    def _stop_resubscribing(self) -> None:
        if self._resubscribing is not None:
            self._resubscribing.cancel()
            self._resubscribing = None

    async def _resubscribe(self) -> None:
        """Subscribe every topic again. Those that are being opened come by themselves: their call is repeated."""
        open_topics = [(topic, entry) for topic, entry in self._topics.items() if entry.opening is None]
        # Topics of like age go together, for one message has one position: that of its oldest topic.
        remaining = iter(sorted(open_topics, key=lambda item: item[1].position))
        while chunk := list(islice(remaining, TOPICS_PER_MESSAGE)):
            await self._subscribe_again([topic for topic, _ in chunk], chunk[0][1].position)
        if open_topics:
            log.info("topics_resubscribed", topics=len(open_topics))

    async def _subscribe_again(self, topics: Sequence[str], after_seq: int) -> None:
        # Ends when it has worked, or when the monitor reports a death and this task is cancelled.
        while wanted := [topic for topic in topics if topic in self._topics]:
            try:
                message = Subscribe(self._front, wanted, after_seq)
                await self._node.call(NOTIFIER, message, timeout_s=self._timeout_s, retry=True)
            except RuntimeFault as error:
                log.warning("resubscribing_failed", topics=len(wanted), error=error.code)
                await asyncio.sleep(RETRY_S)
            else:
                return


def _look_at_exception(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
