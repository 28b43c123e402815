"""Who gets which events: fronts, their topics, and how far each of them has come. Pure.

Every event has a position in the log, `seq`. The notifier has come to `head`: every event up to there was offered to
the fronts. A topic of a front is in one of two states:

    live      gets every event as it is committed
    lagging   has come to a position before `head`; the events after it are read from the database and replayed, and
              only when it has come to `head` is it live again, so its events never overtake each other

           subscribe(after_seq < head)                        replayed up to head
    (none) ───────────────────────────▶ lagging ─────────────────────────────▶ live
       │                                   ▲                                    ▲ │
       │                                   └───── front does not keep up ───────│─┘
       └───────────────── subscribe(from now) ──────────────────────────────────┘

Delivery is at least once, in order of `seq`: events sent and not acknowledged when a front does not keep up, or its
acknowledgement is lost, are replayed from the last acknowledged position. At most `window` events of a front are
unacknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitnexus.actors.messages import TopicEvent, TransferAnnotated
from bitnexus.actors.notifier.events import LogEvent, topic_events


@dataclass(frozen=True, slots=True)
class Mark:
    """An acknowledgement asked for: its answer covers what was sent before."""

    position: int  # the head then
    count: int  # events unacknowledged then
    unconfirmed: dict[str, int]  # topic → position before its replayed events


class Front:
    """The subscriptions of one front."""

    __slots__ = ("acknowledged", "lagging", "live", "mark", "name", "unacknowledged", "unconfirmed")

    def __init__(self, name: str) -> None:
        self.name = name
        self.live: dict[str, int] = {}  # topic → position it became live at
        self.lagging: dict[str, int] = {}  # topic → position it has come to
        self.acknowledged = -1  # every live event up to here has arrived
        self.unacknowledged = 0  # events sent since the last acknowledgement
        self.unconfirmed: dict[str, int] = {}  # topic → position before its replayed events, sent since the last mark
        self.mark: Mark | None = None

    @property
    def idle(self) -> bool:
        """True when nothing is subscribed."""
        return not self.live and not self.lagging


class Topics:
    """All subscriptions, and the position up to which events were offered to them."""

    def __init__(self, head: int, *, window: int) -> None:
        self.head = head
        self._window = window
        self._fronts: dict[str, Front] = {}
        self._live: dict[str, set[str]] = {}  # topic → fronts where it is live

    def __len__(self) -> int:
        """How many topics are live."""
        return len(self._live)

    def front(self, name: str) -> Front | None:
        """The front's subscriptions, if it has any."""
        return self._fronts.get(name)

    @property
    def fronts(self) -> list[Front]:
        """The fronts with subscriptions."""
        return list(self._fronts.values())

    # -- subscriptions ----------------------------------------------------------------------------------------

    def subscribe(self, name: str, topics: Iterable[str], after_seq: int) -> int:
        """Add topics of a front; returns the position after which every event will be delivered.

        `after_seq` -1: from now. A topic that is subscribed already goes on as it is, or is replayed from `after_seq`.
        """
        front = self._fronts.get(name)
        if front is None:
            front = self._fronts[name] = Front(name)
            front.acknowledged = self.head
        for topic in topics:
            if after_seq < 0:
                if topic not in front.lagging and topic not in front.live:
                    self._make_live(front, topic, self.head)
            elif after_seq >= self.head:
                if topic not in front.lagging:
                    self._make_live(front, topic, after_seq)
            else:
                self._make_lagging(front, topic, min(after_seq, front.lagging.get(topic, after_seq)))
        # Event 0 is no transfer, for an account must be opened first. To say 0 of an empty log is as true as -1, and
        # cannot be taken for "from now" when the front gives it back.
        return max(0, self.head) if after_seq < 0 else after_seq

    def unsubscribe(self, name: str, topics: Iterable[str]) -> None:
        """Take topics of a front away; those it has not are passed over."""
        front = self._fronts.get(name)
        if front is None:
            return
        for topic in topics:
            front.lagging.pop(topic, None)
            front.unconfirmed.pop(topic, None)
            self._take_live(front, topic)
        if front.idle:
            del self._fronts[name]

    def forget(self, name: str) -> None:
        """The front is dead: it has no subscriptions any more."""
        front = self._fronts.pop(name, None)
        if front is not None:
            for topic in list(front.live):
                self._take_live(front, topic)
            front.lagging.clear()

    # -- live events ------------------------------------------------------------------------------------------

    def is_gap(self, first_seq: int) -> bool:
        """True when events between `head` and `first_seq` are missing."""
        return first_seq > self.head + 1

    def must_read(self, first_seq: int, events: Sequence[LogEvent]) -> bool:
        """True when these events cannot be told to readers: some before them are missing, or whom they concern."""
        if self.is_gap(first_seq):
            return True
        return bool(self._live) and any(type(event) is TransferAnnotated for event in events)

    def committed(
        self, first_seq: int, events: Sequence[LogEvent], owners: Mapping[str, str]
    ) -> list[tuple[str, TopicEvent]]:
        """Go on to the end of these consecutive events; what to send to which front. Events known already are skipped.

        A front whose window is full gets nothing more: it lags from what it has acknowledged.
        """
        assert not self.is_gap(first_seq), "events are missing"
        sends: list[tuple[str, TopicEvent]] = []
        new = events[self.head + 1 - first_seq :]
        if not self._live:
            self.head += len(new)
            return sends
        for event in new:
            self.head += 1
            for topic_event in topic_events(event, owners, self._live):
                for name in tuple(self._live.get(topic_event.topic, ())):
                    self._offer(self._fronts[name], topic_event, sends)
        return sends

    def _offer(self, front: Front, event: TopicEvent, sends: list[tuple[str, TopicEvent]]) -> None:
        if event.seq <= front.live[event.topic]:
            return
        if front.unacknowledged >= self._window:
            self.fall_back(front)
            return
        front.unacknowledged += 1
        sends.append((front.name, event))

    # -- acknowledgements -------------------------------------------------------------------------------------

    def mark(self, front: Front) -> int | None:
        """The position to ask an acknowledgement for; None when none is needed, or one is under way."""
        if front.mark is not None:
            return None
        if not front.unacknowledged:
            front.acknowledged = self.head
            return None
        front.mark = Mark(self.head, front.unacknowledged, front.unconfirmed)
        front.unconfirmed = {}
        return self.head

    def acknowledge(self, front: Front) -> None:
        """What was sent before the last mark has arrived."""
        assert front.mark is not None
        front.acknowledged = front.mark.position
        front.unacknowledged -= front.mark.count
        front.mark = None

    def fall_back(self, front: Front) -> None:
        """The front does not keep up: its live topics lag from the position up to which their events have arrived."""
        for topic in list(front.live):
            self._make_lagging(front, topic, _arrived(front, topic))

    def rewind(self, front: Front) -> None:
        """Something of what was sent, live or replayed, is lost: all topics lag from what has arrived."""
        self.fall_back(front)
        for topic, position in front.lagging.items():
            # Not further: somebody may have come since who wants events from before what was sent.
            front.lagging[topic] = min(position, _arrived(front, topic))

    def fail_mark(self, front: Front) -> None:
        """No acknowledgement came: what was sent since the last one may be lost."""
        self.rewind(front)
        front.mark = None
        front.unacknowledged = 0
        front.unconfirmed = {}

    # -- replay -----------------------------------------------------------------------------------------------

    def replay(
        self,
        front: Front,
        topics: Mapping[str, int],
        events: Iterable[tuple[LogEvent, int]],
        owners: Mapping[str, str],
        up_to_seq: int,
    ) -> list[TopicEvent]:
        """Bring lagging topics up to `up_to_seq`; what to send to the front, in order.

        `topics` are those the events were read for, with the positions they had then; one that was subscribed anew
        meanwhile, from elsewhere, stays where it is. `events`, with their positions, are all of theirs up to
        `up_to_seq`.
        """
        up_to_seq = min(up_to_seq, self.head)
        due = {topic: at for topic, at in topics.items() if front.lagging.get(topic) == at}
        sends = [
            topic_event
            for event, seq in events
            if seq <= up_to_seq
            for topic_event in topic_events(event, owners, due)
            if seq > due[topic_event.topic]
        ]
        front.unacknowledged += len(sends)
        for send in sends:
            front.unconfirmed.setdefault(send.topic, due[send.topic])
        for topic, at in due.items():
            if up_to_seq >= self.head:
                self._make_live(front, topic, max(at, up_to_seq))
            else:
                front.lagging[topic] = max(at, up_to_seq)
        return sends

    # -- states -----------------------------------------------------------------------------------------------

    def _make_live(self, front: Front, topic: str, since: int) -> None:
        front.lagging.pop(topic, None)
        front.live[topic] = since
        self._live.setdefault(topic, set()).add(front.name)

    def _make_lagging(self, front: Front, topic: str, position: int) -> None:
        self._take_live(front, topic)
        front.lagging[topic] = position

    def _take_live(self, front: Front, topic: str) -> None:
        if front.live.pop(topic, None) is None:
            return
        names = self._live[topic]
        names.discard(front.name)
        if not names:
            del self._live[topic]


def _arrived(front: Front, topic: str) -> int:
    """The position up to which the topic's events are known to have arrived."""
    for replayed in (front.mark.unconfirmed if front.mark else {}, front.unconfirmed):
        if topic in replayed:
            return replayed[topic]
    if topic in front.live:
        return max(front.live[topic], front.acknowledged)
    return front.lagging[topic]
