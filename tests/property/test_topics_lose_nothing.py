"""Fronts that stall, lose what was on its way and come back: each reader sees every event of its topic, once, in order.

The reader at the front is a plain model: it takes an event when its position is higher than the last one's. So an event
that arrives before an earlier one of its topic would be a loss.
"""

from __future__ import annotations

from collections import deque
from random import Random

from hypothesis import given, settings, strategies

from bitnexus.actors.messages import AccountOpened, TopicEvent, Transfer
from bitnexus.actors.notifier.events import LogEvent, transaction_topic
from bitnexus.actors.notifier.topics import Front, Topics

FRONTS = ("http-0", "http-1")
USERS = ("u0", "u1", "u2")
TOPICS = [transaction_topic(user) for user in USERS]
OWNERS = {f"account-{user}": user for user in USERS}  # "world" has none
ACCOUNTS = [*OWNERS, "world"]
PAGE = 3
WINDOW = 4


class Reader:
    """A front's view of one topic."""

    def __init__(self, after_seq: int) -> None:
        self.start = after_seq
        self.position = after_seq
        self.seen: list[int] = []

    def take(self, event: TopicEvent) -> None:
        if event.seq > self.position:
            self.position = event.seq
            self.seen.append(event.seq)


class Link:
    """What is on its way to a front, in order: events, and the front whose mark it will acknowledge."""

    def __init__(self) -> None:
        self.queue: deque[TopicEvent | Front] = deque()
        self.readers: dict[str, Reader] = {}


class World:
    """The positions against a log, with links that delay and lose."""

    def __init__(self) -> None:
        self.log: list[LogEvent] = [AccountOpened("account-u0", "u0", "USD/2", 0, 0, 1, 0)]
        self.topics = Topics(-1, window=WINDOW)
        self.links = {name: Link() for name in FRONTS}
        self.page: tuple[str, dict[str, int], int, int] | None = None

    # -- the notifier's surroundings --------------------------------------------------------------------------

    def block_is_committed(self, pairs: list[tuple[str, str]], *, told: bool) -> None:
        first = len(self.log)
        for seq, (debit, credit) in enumerate(pairs, first):
            if credit == "":
                self.log.append(None)
            elif credit == "opened":
                self.log.append(AccountOpened(debit, "u0", "USD/2", 0, seq, 1, 0))
            else:
                self.log.append(Transfer("t", debit, credit, 1, "USD/2", 0, "", "", "u0", seq, 1, 0, 0, 0))
        if told and not self.topics.is_gap(first):
            self._send(self.topics.committed(first, self.log[first:], OWNERS))

    def missing_events_are_read(self, back: int) -> None:
        first = max(0, self.topics.head + 1 - back)
        self._send(self.topics.committed(first, self.log[first:], OWNERS))

    def _send(self, sends: list[tuple[str, TopicEvent]]) -> None:
        for name, event in sends:
            self.links[name].queue.append(event)
        for front in self.topics.fronts:
            self._ask(front.name)

    def _ask(self, name: str) -> None:
        front = self.topics.front(name)
        if front is not None and self.topics.mark(front) is not None:
            self.links[name].queue.append(front)

    def things_arrive(self, name: str, count: int) -> None:
        link = self.links[name]
        for _ in range(min(count, len(link.queue))):
            item = link.queue.popleft()
            if isinstance(item, Front):
                self.topics.acknowledge(item)
                self._ask(name)
            elif item.topic in link.readers:
                link.readers[item.topic].take(item)

    def connection_breaks(self, name: str) -> None:
        link = self.links[name]
        lost = list(link.queue)
        link.queue.clear()
        for item in lost:
            if isinstance(item, Front):
                self.topics.fail_mark(item)

    def front_dies(self, name: str) -> None:
        self.topics.forget(name)
        self.links[name] = Link()
        if self.page is not None and self.page[0] == name:
            self.page = None

    def notifier_dies(self) -> None:
        self.topics = Topics(len(self.log) - 1, window=WINDOW)
        self.page = None
        for name, link in self.links.items():
            link.queue.clear()
            if link.readers:
                oldest = min(reader.position for reader in link.readers.values())
                self.topics.subscribe(name, link.readers, oldest)

    # -- readers ----------------------------------------------------------------------------------------------

    def reader_comes(self, name: str, topic: str, after: int | None) -> None:
        link = self.links[name]
        if topic in link.readers:
            return
        # What is still on its way from an earlier subscription must not be taken for the new one's.
        if any(isinstance(item, TopicEvent) and item.topic == topic for item in link.queue):
            return
        after_seq = -1 if after is None else min(after, len(self.log) - 1)
        link.readers[topic] = Reader(self.topics.subscribe(name, [topic], after_seq))

    def reader_leaves(self, name: str, topic: str) -> None:
        self.links[name].readers.pop(topic, None)
        self.topics.unsubscribe(name, [topic])

    def subscription_is_repeated(self, name: str, topic: str) -> None:
        reader = self.links[name].readers.get(topic)
        if reader is not None:
            self.topics.subscribe(name, [topic], reader.position)

    # -- replay: a read that takes its time, then its result --------------------------------------------------

    def page_is_read(self, name: str) -> None:
        front = self.topics.front(name)
        if (
            self.page is not None
            or front is None
            or not front.lagging
            or front.unacknowledged
            or front.mark is not None
        ):
            return
        position = min(front.lagging.values())
        end = min(len(self.log) - 1, position + PAGE)
        self.page = (name, dict(front.lagging), position, end)

    def page_arrives(self) -> None:
        if self.page is None:
            return
        name, topics, position, end = self.page
        self.page = None
        front = self.topics.front(name)
        if front is None:
            return
        events = [(self.log[seq], seq) for seq in range(position + 1, end + 1)]
        self.links[name].queue.extend(self.topics.replay(front, topics, events, OWNERS, end))
        self._ask(name)

    # -- what must hold ---------------------------------------------------------------------------------------

    def each_reader_has_seen_a_gapless_beginning(self) -> None:
        for link in self.links.values():
            for topic, reader in link.readers.items():
                due = [
                    seq
                    for seq, event in enumerate(self.log)
                    if seq > reader.start
                    and isinstance(event, Transfer)
                    and topic
                    in {
                        transaction_topic(OWNERS.get(id_, ""))
                        for id_ in (event.debit_account_id, event.credit_account_id)
                    }
                ]
                assert reader.seen == due[: len(reader.seen)], topic

    def what_is_under_way_is_bounded(self) -> None:
        for link in self.links.values():
            events = sum(isinstance(item, TopicEvent) for item in link.queue)
            assert events <= 2 * WINDOW + 6 * PAGE

    def settle(self) -> None:
        for _ in range(len(self.log) + 20):
            self.missing_events_are_read(0)
            for name in self.links:
                self.things_arrive(name, 100)
                if self.page is not None:
                    self.page_arrives()
                self.page_is_read(name)
        for link in self.links.values():
            for topic, reader in link.readers.items():
                user = topic.removeprefix("transaction:")
                account = f"account-{user}"
                due = [
                    seq
                    for seq, event in enumerate(self.log)
                    if seq > reader.start
                    and isinstance(event, Transfer)
                    and account in {event.debit_account_id, event.credit_account_id}
                ]
                assert reader.seen == due, "an event never came"


# How often what happens, in a hundred and some.
WEIGHTS = {
    "block_is_committed": 20,
    "missing_events_are_read": 10,
    "things_arrive": 25,
    "connection_breaks": 4,
    "front_dies": 1,
    "notifier_dies": 1,
    "reader_comes": 10,
    "reader_leaves": 3,
    "subscription_is_repeated": 3,
    "page_is_read": 15,
    "page_arrives": 15,
}


def step(world: World, what: str, random: Random) -> None:
    name, topic = random.choice(FRONTS), random.choice(TOPICS)
    if what == "block_is_committed":
        pairs = [
            (random.choice(ACCOUNTS), random.choice([*ACCOUNTS, "", "opened"])) for _ in range(random.randint(1, 6))
        ]
        world.block_is_committed(pairs, told=random.random() < 0.7)
    elif what == "missing_events_are_read":
        world.missing_events_are_read(random.randint(0, 4))
    elif what == "things_arrive":
        world.things_arrive(name, random.randint(1, 5))
    elif what == "reader_comes":
        world.reader_comes(name, topic, random.choice([None, random.randint(0, len(world.log))]))
    elif what in {"reader_leaves", "subscription_is_repeated"}:
        getattr(world, what)(name, topic)
    elif what in {"notifier_dies", "page_arrives"}:
        getattr(world, what)()
    else:
        getattr(world, what)(name)


def test_who_comes_for_earlier_events_gets_them_though_what_was_sent_before_is_lost() -> None:
    topic = TOPICS[0]
    events = [
        (Transfer("t", "account-u0", "world", 1, "USD/2", 0, "", "", "u0", seq, 1, 0, 0, 0), seq) for seq in range(10)
    ]
    topics = Topics(9, window=WINDOW)
    topics.subscribe("http-0", [topic], 5)
    front = topics.front("http-0")
    assert front is not None
    assert len(topics.replay(front, {topic: 5}, events, OWNERS, 8)) == 3
    assert topics.mark(front) == 9
    topics.subscribe("http-0", [topic], 1)  # a second reader of the topic
    topics.fail_mark(front)
    sent = topics.replay(front, dict(front.lagging), events, OWNERS, 9)
    assert [event.seq for event in sent] == list(range(2, 10))


@given(seed=strategies.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_every_reader_sees_every_event_once_and_in_order_whatever_is_lost_on_the_way(seed: int) -> None:
    random, world = Random(seed), World()
    for what in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=120):
        step(world, what, random)
        world.each_reader_has_seen_a_gapless_beginning()
        world.what_is_under_way_is_bounded()
    world.settle()
