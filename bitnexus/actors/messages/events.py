"""Events: ledger → notifier → fronts."""

from __future__ import annotations

from bitnexus.actors.messages.accounts import AccountChanged, AccountOpened
from bitnexus.actors.messages.transfers import Transfer, TransferAnnotated
from bitnexus.actors.runtime.message import Message


class BlockCommitted(Message, frozen=True, tag="BlockCommitted/3"):
    """A block is durable. `first_seq` … `first_seq + len(events) - 1`; a refusal is None in `events`."""

    height: int
    first_seq: int
    tree_size: int
    events: list[Transfer | AccountOpened | AccountChanged | TransferAnnotated | None]
    owners: dict[str, str]  # account id → owner's user id, for the accounts in `events`


class Subscribe(Message, frozen=True, tag="Subscribe/1"):
    """A front asks the notifier for the events of `topics`, those after log position `after_seq` (-1: from now).

    Answered by :class:`Subscribed`. Repeating it is harmless.
    """

    front: str
    topics: list[str]
    after_seq: int = -1


class Subscribed(Message, frozen=True, tag="Subscribed/1"):
    """Every event after `seq` will be delivered."""

    seq: int


class Unsubscribe(Message, frozen=True, tag="Unsubscribe/1"):
    """The front has no more reader for these topics. A cast."""

    front: str
    topics: list[str]


class TopicEvent(Message, frozen=True, tag="TopicEvent/2"):
    """What one event of the log, at `seq`, means for one topic; notifier → front, in order of `seq`.

    `events` are those that count in the topic, in their order: each a name and its payload, JSON text of an object,
    encoded once. `states` are likewise, but count for nothing: the next one of its kind takes its place. `ts` is when
    it happened, in RFC 3339.
    """

    topic: str
    seq: int
    ts: str
    events: tuple[tuple[str, str], ...]
    states: tuple[tuple[str, str], ...] = ()


class AcknowledgeEvents(Message, frozen=True, tag="AcknowledgeEvents/1"):
    """Asked of a front by the notifier behind events it has cast: answered by :class:`EventsAcknowledged` at once.

    The answer says that all events before it have arrived. A front that does not answer gets no more live events; it is
    brought up to date from the log when it answers again.
    """

    seq: int


class EventsAcknowledged(Message, frozen=True, tag="EventsAcknowledged/1"):
    """Every event up to log position `seq` has arrived at the front."""

    seq: int
