"""Notifiers, fronts and connections die, readers are slow: each client ends with every event, once and in order.

The log, what is on its way, and the database's delayed answers are a plain model; the notifier's `Topics`, the fronts'
`Feed` and the clients' `Session` are the real ones. A client believes what it is told: that it has come to event n.
"""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings, strategies

from bitnexus.actors.messages import AccountChanged, AccountOpened, TopicEvent, Transfer, TransferAnnotated
from bitnexus.actors.notifier.events import LogEvent, topic_events
from bitnexus.actors.notifier.topics import Front, Topics
from bitnexus.http.channels import feed as feed_module
from bitnexus.http.channels.feed import Ahead, Feed, Missing, Recovery
from bitnexus.http.channels.frame import Frame
from bitnexus.http.channels.serializer import V2
from bitnexus.http.channels.session import Send, Session, Subscribe
from bitnexus.http.channels.topics import Verdict
from bitnexus.storage.ledger_rows import Annotated

EPOCH = "0123456789abcdef"
FRONTS = ("http-0", "http-1")
USERS = ("u0", "u1")
TOPICS = [f"{family}:{user}" for family in ("transaction", "notification") for user in USERS]
OWNERS = {f"account-{user}": user for user in USERS}  # "world" has none
ACCOUNTS = [*OWNERS, "world"]
KINDS = ("post", "post", "post", "pending", "post_pending", "void_pending", "expire_pending", "reversal")
WINDOW = 8
PAGE = 4
RECOVERED = 6
OUTBOX = 10


@pytest.fixture(autouse=True, scope="module")
def few_are_recovered():
    patch = pytest.MonkeyPatch()
    patch.setattr(feed_module, "MAX_RECOVERED", RECOVERED)
    patch.setattr(feed_module, "MAX_WAITING", 6)
    yield
    patch.undo()


class Topic:
    """A topic at a front: its feed, who reads it, and the joins that wait for the database."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.readers: list[Client] = []
        self.joins: list[tuple[Client, Subscribe]] = []
        self.asked: dict[Client, Missing | Ahead] = {}


class Link:
    """A front, and what is on its way to it: events, and the front whose mark it will acknowledge."""

    def __init__(self) -> None:
        self.queue: deque[TopicEvent | Front] = deque()
        self.topics: dict[str, Topic] = {}


class Client:
    """Reads one topic; `seen` is the number of the last event it has, and what it knows it by."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.place: dict[str, Any] = {}
        self.front: str | None = None
        self.session: Session
        self.outbox: deque[str] = deque()


class World:
    def __init__(self) -> None:
        self.log: list[LogEvent] = [AccountOpened("account-u0", "u0", "USD/2", 0, 0, 1, 0)]
        self.notifier = Topics(0, window=WINDOW)
        self.links = {name: Link() for name in FRONTS}
        self.clients = [Client(topic) for topic in TOPICS * 3]
        self.page: tuple[str, dict[str, int], int] | None = None
        self.told: dict[str, list[tuple[str, str]]] = {topic: [] for topic in TOPICS}
        self.ends: dict[str, list[int]] = {topic: [0] for topic in TOPICS}  # events of the topic, by place in the log

    # -- the log ------------------------------------------------------------------------------------------------

    def block_is_committed(self, random: Random, *, told: bool) -> None:
        first = len(self.log)
        for seq in range(first, first + random.randint(1, 3)):
            self.log.append(self._event(random, seq))
            for topic in TOPICS:
                for event in topic_events(self.log[-1], OWNERS, (topic,)):
                    self.told[topic] += event.events
                self.ends[topic].append(len(self.told[topic]))
        # The ledger does not say whom annotations concern.
        events = [event.words if isinstance(event, Annotated) else event for event in self.log[first:]]
        if told and not self.notifier.must_read(first, events):
            self._send(self.notifier.committed(first, events, OWNERS))

    def _event(self, random: Random, seq: int) -> LogEvent:
        debit, credit = random.sample(ACCOUNTS, 2)
        match random.randint(0, 9):
            case 0:
                return None
            case 1:
                return AccountChanged(random.choice(list(OWNERS)), "freeze", "admin", seq, 1, seq)
            case 2:
                return Annotated(TransferAnnotated(f"a{seq}", "t", "words", "", "u0", seq, 1, seq), debit, credit)
            case _:
                kind = random.choice(KINDS)
                pending, reverses = ("p" if "_" in kind else ""), ("r" if kind == "reversal" else "")
                fields = (f"t{seq}", debit, credit, 1, "USD/2", 0, "", "", "u0", seq, 1, seq, 0, 0, kind)
                return Transfer(*fields, pending, reverses)

    def last(self, topic: str, up_to_seq: int, count: int) -> list[TopicEvent]:
        found: list[TopicEvent] = []
        for event in reversed(self.log[: up_to_seq + 1]):
            if len(found) == count:
                break
            found += topic_events(event, OWNERS, (topic,))
        return found[::-1]

    # -- the notifier -------------------------------------------------------------------------------------------

    def missing_events_are_read(self, back: int = 0) -> None:
        first = max(0, self.notifier.head + 1 - back)
        self._send(self.notifier.committed(first, self.log[first:], OWNERS))

    def _send(self, sends: list[tuple[str, TopicEvent]]) -> None:
        for name, event in sends:
            self.links[name].queue.append(event)
        for front in self.notifier.fronts:
            self._ask(front.name)

    def _ask(self, name: str) -> None:
        front = self.notifier.front(name)
        if front is not None and self.notifier.mark(front) is not None:
            self.links[name].queue.append(front)

    def page_is_read(self, name: str) -> None:
        front = self.notifier.front(name)
        if self.page is None and front is not None and front.lagging and not front.unacknowledged and not front.mark:
            self.page = (name, dict(front.lagging), min(front.lagging.values()))

    def page_arrives(self) -> None:
        if self.page is None:
            return
        (name, topics, position), self.page = self.page, None
        front = self.notifier.front(name)
        if front is not None:
            end = min(len(self.log) - 1, position + PAGE)
            events = [(self.log[seq], seq) for seq in range(position + 1, end + 1)]
            self.links[name].queue.extend(self.notifier.replay(front, topics, events, OWNERS, end))
            self._ask(name)

    def notifier_dies(self) -> None:
        self.notifier = Topics(len(self.log) - 1, window=WINDOW)
        self.page = None
        for name, link in self.links.items():
            link.queue.clear()
            if link.topics:
                oldest = min(topic.feed.position for topic in link.topics.values())
                self.notifier.subscribe(name, link.topics, oldest)

    # -- fronts -------------------------------------------------------------------------------------------------

    def things_arrive(self, name: str, count: int) -> None:
        link = self.links[name]
        for _ in range(min(count, len(link.queue))):
            item = link.queue.popleft()
            if isinstance(item, Front):
                self.notifier.acknowledge(item)
                self._ask(name)
            elif (topic := link.topics.get(item.topic)) is not None:
                self._deliver(topic, topic.feed.take(item))

    def connection_breaks(self, name: str) -> None:
        link = self.links[name]
        lost = list(link.queue)
        link.queue.clear()
        for item in lost:
            if isinstance(item, Front):
                self.notifier.fail_mark(item)

    def front_dies(self, name: str) -> None:
        self.notifier.forget(name)
        self.links[name] = Link()
        if self.page is not None and self.page[0] == name:
            self.page = None
        for client in self.clients:
            if client.front == name:
                client.front = None
                client.outbox.clear()

    def _deliver(self, topic: Topic, broadcasts) -> None:
        for broadcast in broadcasts:
            for client in tuple(topic.readers):
                self._apply(client, client.session.broadcast(broadcast))

    def a_count_arrives(self, name: str, topic_name: str) -> None:
        topic = self.links[name].topics.get(topic_name)
        if topic is None or topic.feed.is_open:
            return
        try:
            broadcasts = topic.feed.numbered(EPOCH, self.ends[topic_name][topic.feed.position])
        except feed_module.TooManyWait:
            for client in tuple(topic.readers):
                self.client_is_cut_off(client)
            return
        self._deliver(topic, broadcasts)
        for client, request in tuple(topic.joins):
            self._recover(topic, client, request)

    def _recover(self, topic: Topic, client: Client, request: Subscribe) -> None:
        found = topic.feed.recover(request.wishes.after)
        if isinstance(found, Recovery):
            self._joined(topic, client, request, found)
        else:
            topic.asked[client] = found

    def _joined(self, topic: Topic, client: Client, request: Subscribe, recovery: Recovery) -> None:
        topic.joins.remove((client, request))
        self._apply(client, client.session.subscribed(request, recovery))

    def an_answer_arrives(self, name: str, topic_name: str) -> None:
        topic = self.links[name].topics.get(topic_name)
        if topic is None or not topic.asked:
            return
        client, asked = topic.asked.popitem()
        request = next(request for joining, request in topic.joins if joining is client)
        if isinstance(asked, Missing):
            found = topic.feed.with_read(asked, self.last(topic_name, asked.up_to_seq, asked.count))
        else:
            found = topic.feed.is_there(asked.seq, self.ends[topic_name][-1])
        if found is None:
            self._recover(topic, client, request)
        else:
            self._joined(topic, client, request, found)

    def what_was_kept_is_forgotten(self, name: str) -> None:
        for topic in self.links[name].topics.values():
            topic.feed.forget()

    # -- clients ------------------------------------------------------------------------------------------------

    def client_connects(self, client: Client, name: str) -> None:
        if client.front is not None:
            return
        client.front = name
        client.session = Session(lambda _: Verdict.ALLOWED, V2())
        topics = self.links[name].topics
        (request,) = client.session.receive(Frame("1", "1", client.topic, "phx_join", {"resume": client.place}))
        assert isinstance(request, Subscribe)
        topic = topics.get(client.topic)
        if topic is None:
            topic = topics[client.topic] = Topic()
            topic.feed.subscribed(self.notifier.subscribe(name, [client.topic], -1))
        topic.readers.append(client)
        topic.joins.append((client, request))
        if topic.feed.is_open:
            self._recover(topic, client, request)

    def client_is_cut_off(self, client: Client) -> None:
        if client.front is None:
            return
        name, client.front = client.front, None
        client.outbox.clear()
        topics = self.links[name].topics
        topic = topics[client.topic]
        topic.readers.remove(client)
        topic.joins = [join for join in topic.joins if join[0] is not client]
        topic.asked.pop(client, None)
        if not topic.readers:
            del topics[client.topic]
            self.notifier.unsubscribe(name, [client.topic])

    def _apply(self, client: Client, effects) -> None:
        for effect in effects:
            if client.front is None:
                return
            if isinstance(effect, Send):
                assert isinstance(effect.message, str)
                if len(client.outbox) >= OUTBOX:
                    self.client_is_cut_off(client)  # 1013
                else:
                    client.outbox.append(effect.message)

    def client_reads(self, client: Client, count: int) -> None:
        for _ in range(min(count, len(client.outbox))):
            _, _, _, event, payload = json.loads(client.outbox.popleft())
            if event == "phx_reply":
                self._is_told(client, payload["response"]["resume"])
            elif event == "phx_error":
                self.client_is_cut_off(client)
                return
            else:
                self._takes(client, event, payload)

    def _is_told(self, client: Client, resume) -> None:
        assert resume["epoch"] == EPOCH
        if resume["recovered"]:
            assert client.place, "nobody recovers what it never had"
            assert resume["seq"] == client.place["seq"] + resume["count"]
        else:
            assert resume["reason"] == ("too_many" if client.place else "new")
            assert resume["count"] == 0
            client.place = {"epoch": EPOCH, "seq": resume["seq"]}  # and it loads by REST what it shows

    def _takes(self, client: Client, event: str, payload) -> None:
        meta = payload.pop("_meta")
        assert meta["seq"] == client.place["seq"] + 1, (meta, client.place)
        name, text = self.told[client.topic][meta["seq"] - 1]
        assert (event, payload) == (name, json.loads(text))
        client.place["seq"] = meta["seq"]

    # -- the end ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        for _ in range(len(self.log) + 30):
            self.missing_events_are_read()
            for client in self.clients:
                self.client_connects(client, FRONTS[0])
            for name in FRONTS:
                self.things_arrive(name, 3)
                for topic in TOPICS:
                    self.a_count_arrives(name, topic)
                    self.an_answer_arrives(name, topic)
                for client in self.clients:
                    self.client_reads(client, OUTBOX)
                self.page_arrives()
                self.page_is_read(name)
        for client in self.clients:
            assert client.place["seq"] == len(self.told[client.topic]), (client.topic, client.place)


# How often what happens, in a hundred and some.
WEIGHTS = {
    "block_is_committed": 15,
    "missing_events_are_read": 10,
    "things_arrive": 20,
    "connection_breaks": 3,
    "front_dies": 2,
    "notifier_dies": 2,
    "client_connects": 25,
    "client_is_cut_off": 10,
    "client_reads": 30,
    "a_count_arrives": 25,
    "an_answer_arrives": 15,
    "what_was_kept_is_forgotten": 2,
    "page_is_read": 12,
    "page_arrives": 12,
}


def step(world: World, what: str, random: Random) -> None:
    name, topic = random.choice(FRONTS), random.choice(TOPICS)
    away = [client for client in world.clients if client.front is None]
    client = random.choice((away if what == "client_connects" else world.clients) or world.clients)
    arguments = {
        "missing_events_are_read": (random.randint(0, 4),),
        "things_arrive": (name, random.randint(1, 6)),
        "client_connects": (client, name),
        "client_is_cut_off": (client,),
        "client_reads": (client, random.randint(1, OUTBOX)),
        "notifier_dies": (),
        "page_arrives": (),
    }
    if what == "block_is_committed":
        world.block_is_committed(random, told=random.random() < 0.7)
    elif what in {"a_count_arrives", "an_answer_arrives"}:
        for each in TOPICS:
            if each == topic or random.random() < 0.3:
                getattr(world, what)(name, each)
    else:
        getattr(world, what)(*arguments.get(what, (name,)))


@given(seed=strategies.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_every_client_ends_with_every_event_once_and_in_order_whoever_died(seed: int) -> None:
    random, world = Random(seed), World()
    for what in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=300):
        step(world, what, random)
    world.settle()


class Noting(World):
    """Notes which answers there are."""

    met: ClassVar[set[str]] = set()

    def _is_told(self, client, resume) -> None:
        self.met.add(resume.get("reason", "missed" if resume["count"] else "nothing"))
        super()._is_told(client, resume)

    def an_answer_arrives(self, name: str, topic_name: str) -> None:
        topic = self.links[name].topics.get(topic_name)
        self.met.update(type(asked).__name__ for asked in (topic.asked.values() if topic else ()))
        super().an_answer_arrives(name, topic_name)


def test_the_model_meets_every_kind_of_answer() -> None:
    """Else the property above would say less than it seems."""
    for seed in range(25):
        random, world = Random(seed), Noting()
        for what in random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=300):
            step(world, what, random)
    assert Noting.met == {"new", "too_many", "missed", "nothing", "Missing", "Ahead"}
