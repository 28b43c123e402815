"""The events of one topic as one front has them: their numbers, and the newest of them, for who comes back. Pure.

An event's number is how many events its topic has had with it, in all of the log: every front counts the same, at any
time. A feed counts on from the number that the database gives for the position of its subscription:

    CLOSED   subscribed: →    COUNTING   numbered: →   OPEN   every event gets the next number
                              events wait

The notifier delivers every event at least once, in order; what is not behind the last one is a repetition.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bitnexus.actors.messages import TopicEvent
from bitnexus.http.channels.broadcast import Broadcast, Meta
from bitnexus.http.channels.resume import Place

#: Most events that a client gets again when it resumes: half of what may wait for it. It loads more of them by REST.
MAX_RECOVERED: Final = 500
#: … and how long their payloads may be together, in characters: likewise half.
MAX_RECOVERED_SIZE: Final = 512 * 1024
#: Events of the log that may come while they are counted.
MAX_WAITING: Final = 1_000


class NotRecovered(enum.Enum):
    """Why a client has to load what it shows by REST."""

    NEW = "new"  # it has nothing yet
    EPOCH = "epoch"  # what it has is of another log
    TOO_MANY = "too_many"
    AHEAD = "ahead"  # there has not been such an event


class TooManyWait(Exception):
    """More events came while they were counted than may wait: some are lost."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A join's answer: the client has, or gets, every event up to `seq`; those that it missed; or why not all."""

    epoch: str
    seq: int
    missed: tuple[Broadcast, ...] = ()
    reason: NotRecovered | None = None

    def reply(self) -> dict[str, object]:
        """As the response of the join."""
        told = {"epoch": self.epoch, "seq": self.seq, "recovered": self.reason is None, "count": len(self.missed)}
        return {"resume": told if self.reason is None else {**told, "reason": self.reason.value}}


@dataclass(frozen=True, slots=True)
class Missing:
    """The last `count` events up to the log's event `up_to_seq`, which is number `head` of the topic, must be read."""

    up_to_seq: int
    head: int
    count: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """The client has seen more of the topic than this front: is there an event of that number by now?"""

    seq: int


class Feed:
    """See the module. `position` is the place in the log of the last event, -1 when CLOSED."""

    __slots__ = ("_history", "_lost", "_waiting", "epoch", "kept", "number", "position")

    def __init__(self) -> None:
        self.position = -1
        self.number = -1
        self.epoch = ""
        self._waiting: list[TopicEvent] = []
        self._lost = False
        self._history: deque[Broadcast] = deque()  # the newest, without a gap
        self.kept = 0  # how long their payloads are together

    @property
    def is_open(self) -> bool:
        """Whether events have numbers."""
        return self.number >= 0

    def forget(self) -> None:
        """Keep no events for who comes back: they are read again when they are needed."""
        self._history.clear()
        self.kept = 0

    # -- as events come -----------------------------------------------------------------------------------------

    def subscribed(self, position: int) -> None:
        """Every event after this position of the log will come."""
        self.position = position

    def numbered(self, epoch: str, number: int) -> list[Broadcast]:
        """There were `number` events up to the position; what has come meanwhile.

        Raises:
            TooManyWait: too much has come.
        """
        if self._lost:
            raise TooManyWait
        self.epoch, self.number = epoch, number
        waiting, self._waiting = self._waiting, []
        return [broadcast for event in waiting for broadcast in self.take(event)]

    def take(self, event: TopicEvent) -> list[Broadcast]:
        """What readers are to get of it: nothing if it is a repetition, or numbers are not known yet."""
        if not self.is_open:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(event)
            else:
                self._lost = True
            return []
        if event.seq <= self.position:
            return []
        self.position = event.seq
        counted = numbered(event, self.epoch, self.number + 1)
        self.number += len(counted)
        self._keep(counted)
        return [*counted, *states_of(event)]

    # -- as readers come back -----------------------------------------------------------------------------------

    def recover(self, after: Place | None) -> Recovery | Missing | Ahead:
        """What a client gets that has every event up to `after`; or what must be known for that."""
        head = self.number
        if after is None:
            return Recovery(self.epoch, head, reason=NotRecovered.NEW)
        if after.epoch != self.epoch:
            return Recovery(self.epoch, head, reason=NotRecovered.EPOCH)
        if after.seq > head:
            return Ahead(after.seq)
        missed = head - after.seq
        if missed > MAX_RECOVERED:
            return Recovery(self.epoch, head, reason=NotRecovered.TOO_MANY)
        if missed > len(self._history):
            return Missing(self.position, head, missed)
        newest = tuple(self._history)
        return self._recovered(newest[len(newest) - missed :])

    def with_read(self, missing: Missing, read: Sequence[TopicEvent]) -> Recovery | None:
        """What the client gets, now that the events have been read that were missing: all of them.

        None: what has come since is not kept any more: look again.

        Raises:
            ValueError: they are not as many as were counted: queries and events disagree.
        """
        older = last_numbered(read, self.epoch, missing.head, missing.count)
        since = self.number - missing.head
        if since > len(self._history):
            return None
        whole = (*older, *tuple(self._history)[len(self._history) - since :]) if since else tuple(older)
        recovery = self._recovered(whole)
        if recovery.missed and len(whole) > len(self._history):
            self.forget()
            self._keep(whole)
        return recovery

    def is_there(self, seq: int, number_now: int) -> Recovery | None:
        """What the client gets that has seen event `seq`, when the topic has had `number_now` by now.

        None: this front has seen as much meanwhile: look again.
        """
        if seq > number_now:
            return Recovery(self.epoch, self.number, reason=NotRecovered.AHEAD)
        # What this front has yet to see before that one the client has got elsewhere.
        return None if self.number >= seq else Recovery(self.epoch, seq)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _recovered(self, missed: tuple[Broadcast, ...]) -> Recovery:
        """These are given, if that is not too much."""
        if len(missed) > MAX_RECOVERED or sum(len(each.payload) for each in missed) > MAX_RECOVERED_SIZE:
            return Recovery(self.epoch, self.number, reason=NotRecovered.TOO_MANY)
        return Recovery(self.epoch, self.number, missed)

    def _keep(self, newest: Iterable[Broadcast]) -> None:
        """Keep these as well, and let go of the oldest: no more is kept than can be recovered."""
        history = self._history
        for broadcast in newest:
            history.append(broadcast)
            self.kept += len(broadcast.payload)
            while len(history) > MAX_RECOVERED or self.kept > MAX_RECOVERED_SIZE:
                self.kept -= len(history.popleft().payload)


class Kept:
    """The feeds that keep events for who comes back. Together they keep `most`, in characters of payload.

    When it is more, those let go to which nothing came longest. `most` must exceed :data:`MAX_RECOVERED_SIZE`, which is
    what a feed alone keeps.
    """

    __slots__ = ("_counts", "_feeds", "_most", "_total")

    def __init__(self, most: int) -> None:
        self._most = most
        self._feeds: dict[str, Feed] = {}  # in the order of their last change
        self._counts: dict[str, int] = {}
        self._total = 0

    def __len__(self) -> int:
        """How much is kept."""
        return self._total

    def changed(self, topic: str, feed: Feed) -> None:
        """More, or other, events are kept."""
        self.gone(topic)
        self._feeds[topic], self._counts[topic] = feed, feed.kept
        self._total += feed.kept
        while self._total > self._most:
            oldest = next(iter(self._feeds))
            self._feeds[oldest].forget()
            self.gone(oldest)

    def gone(self, topic: str) -> None:
        """The topic keeps nothing any more."""
        if self._feeds.pop(topic, None) is not None:
            self._total -= self._counts.pop(topic)


def numbered(event: TopicEvent, epoch: str, first: int) -> list[Broadcast]:
    """Those of the event that count, as number `first` and on."""
    return [
        Broadcast(event.topic, name, payload, Meta(epoch, number, event.ts))
        for number, (name, payload) in enumerate(event.events, first)
    ]


def last_numbered(read: Sequence[TopicEvent], epoch: str, head: int, count: int) -> list[Broadcast]:
    """The last `count` of these events, the very last of which is number `head`.

    Raises:
        ValueError: they are not as many.
    """
    number = head - sum(len(event.events) for event in read)
    found: list[Broadcast] = []
    for event in read:
        found += numbered(event, epoch, number + 1)
        number += len(event.events)
    if len(found) < count:
        raise ValueError(f"{count} events of a topic were counted, {len(found)} were found")
    return found[len(found) - count :]


def states_of(event: TopicEvent) -> list[Broadcast]:
    """Those of the event that do not count."""
    return [Broadcast(event.topic, name, payload, is_state=True) for name, payload in event.states]
