"""One front's readers of topics: a topic is subscribed once at the notifier, an event encoded once for all readers.

Delivery: events of a topic reach each reader in order, none twice, each with its number in the topic (see feed.py).
When the notifier dies the hub subscribes again, from the last position it has seen, as soon as the next one is
registered. Who comes back is given what it missed: out of the newest events that are kept, at most :data:`MAX_KEPT` of
all topics together, or read from the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from bitnexus.actors.messages import Subscribe, Subscribed, TopicEvent, Unsubscribe
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import Overloaded, RuntimeFault
from bitnexus.http.answers import expect
from bitnexus.http.channels.broadcast import Broadcast
from bitnexus.http.channels.feed import Feed, Kept, Missing, Recovery, TooManyWait
from bitnexus.http.channels.resume import Place
from bitnexus.http.channels.topic_log import TopicLog

NOTIFIER: Final = "notifier"
#: Topics in one message when all are subscribed anew.
TOPICS_PER_MESSAGE: Final = 1_000
RETRY_S: Final = 0.5
#: How much of all topics' events is kept for who comes back, in characters of payload; their texts take twice as much.
MAX_KEPT: Final = 8 * 1024 * 1024
#: How often what was missed is looked up while the topic goes on.
TRIES: Final = 3

#: Runs a coroutine as a task whose failure somebody sees.
Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Who reads a topic: must not block, and must hold a bound on what it keeps."""

    def deliver(self, event: Broadcast) -> None:
        """Take one event."""


class _Topic:
    __slots__ = ("feed", "opening", "readers", "reading")

    def __init__(self) -> None:
        self.readers: dict[Reader, None] = {}  # in the order they came
        self.feed = Feed()
        self.opening: asyncio.Task[None] | None = None
        self.reading = asyncio.Lock()  # one reads what was missed, others find it kept


class Hub:
    """The topics that sockets of this front read. `front` is the name the notifier sends events to."""

    def __init__(self, node: Node, front: str, timeout_s: float, spawn: Spawn, topic_log: TopicLog) -> None:
        self._spawn = spawn
        self._node = node
        self._front = front
        self._timeout_s = timeout_s
        self._log = topic_log
        self._topics: dict[str, _Topic] = {}
        self._kept = Kept(MAX_KEPT)
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
            RuntimeFault: the notifier did not answer in time, or too much happens; the reader is not subscribed.
            DatabaseUnavailable: the topic's events cannot be counted now; likewise.
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
            self._drop(topic, entry)

    def deliver(self, event: TopicEvent) -> None:
        """Pass an event of the notifier to the topic's readers."""
        entry = self._topics.get(event.topic)
        if entry is None:
            # The subscription outlived its last reader, say by a repeated call: end it.
            self._node.cast(NOTIFIER, Unsubscribe(self._front, [event.topic]))
            return
        broadcasts = entry.feed.take(event)
        if broadcasts:
            self._kept.changed(event.topic, entry.feed)
            _deliver(entry, broadcasts)

    async def recover(self, topic: str, after: Place | None) -> Recovery:
        """What a reader of the topic gets that has come to `after`; it must be subscribed, and gets what comes later.

        Raises:
            DatabaseUnavailable: what it missed cannot be read now.
            RuntimeFault: the topic was closed meanwhile, or goes on faster than it can be read.
        """
        entry = self._topics.get(topic)
        if entry is None or not entry.feed.is_open:
            raise RuntimeFault("The topic was closed")
        feed = entry.feed
        found: Recovery | None
        for _ in range(TRIES):
            first = feed.recover(after)
            if isinstance(first, Recovery):
                return first
            async with entry.reading:
                again = feed.recover(after)  # somebody may have read it since
                if isinstance(again, Recovery):
                    return again
                if isinstance(again, Missing):
                    found = feed.with_read(again, await self._log.last(topic, again.up_to_seq, again.count))
                    if self._topics.get(topic) is entry:
                        self._kept.changed(topic, feed)
                else:
                    found = feed.is_there(again.seq, await self._log.count(topic))
            if found is not None:
                return found
        raise Overloaded("The topic goes on faster than it can be read")

    def _drop(self, topic: str, entry: _Topic) -> None:
        assert self._topics.pop(topic) is entry
        self._kept.gone(topic)
        self._node.cast(NOTIFIER, Unsubscribe(self._front, [topic]))

    async def _open(self, topic: str, entry: _Topic) -> None:
        try:
            answer = await self._node.call(
                NOTIFIER, Subscribe(self._front, [topic]), timeout_s=self._timeout_s, retry=True
            )
            position = expect(Subscribed, answer).seq
            entry.feed.subscribed(position)
            epoch = await self._log.epoch()
            broadcasts = entry.feed.numbered(epoch, await self._log.count(topic, position))
        except BaseException as error:
            if self._topics.get(topic) is entry:
                self._drop(topic, entry)
            if isinstance(error, TooManyWait):
                raise Overloaded("More happens in the topic than can be counted") from error
            raise
        entry.opening = None
        if self._topics.get(topic) is entry:
            self._kept.changed(topic, entry.feed)
            _deliver(entry, broadcasts)

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
        """Subscribe every topic again. Those that are being subscribed come by themselves: their call is repeated."""
        open_topics = [(topic, entry.feed) for topic, entry in self._topics.items() if entry.feed.position >= 0]
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


def _deliver(entry: _Topic, broadcasts: Sequence[Broadcast]) -> None:
    for broadcast in broadcasts:
        for reader in tuple(entry.readers):
            reader.deliver(broadcast)


def _look_at_exception(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
