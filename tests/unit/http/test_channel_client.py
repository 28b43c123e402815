from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from bitnexus.errors import NotFound
from bitnexus.http.channels.client import Channels, Client
from bitnexus.http.channels.hub import Hub, _Topic
from bitnexus.http.channels.rate import Flooding
from bitnexus.http.channels.serializer import V2
from bitnexus.principal import Principal

NO_NODE: Any = None
ANN = Principal("00000000-0000-4000-8000-000000000001", "user", 1e12)
TOPIC = f"transaction:{ANN.user_id}"


class Outlet:
    """What was sent, as JSON."""

    def __init__(self):
        self.sent: asyncio.Queue[Any] = asyncio.Queue()

    def send_event(self, event, serializer, form):
        self.send(event.text(serializer, form))

    def send(self, message):
        self.sent.put_nowait(json.loads(message))

    async def room(self):
        pass

    async def next(self):
        return await asyncio.wait_for(self.sent.get(), 10)


class Nobody:
    """Another reader."""

    def deliver(self, event):
        pass


@pytest.fixture
async def joined():
    """Clients that have joined a topic which somebody else reads already: no notifier is asked."""
    made = []

    async def make(handlers, **options):
        hub = Hub(NO_NODE, "http-0", 1.0, asyncio.create_task, NO_NODE)
        hub._topics[TOPIC] = _Topic()
        hub._topics[TOPIC].readers[Nobody()] = None
        outlet = Outlet()
        channels = Channels(hub, {("transaction", event): handler for event, handler in handlers.items()}, **options)
        client = Client(ANN, V2(), channels, outlet)
        made.append(client)
        push(client, "phx_join", "1")
        assert (await outlet.next())[4]["status"] == "ok"
        return client, outlet

    yield make
    for client in made:
        await client.close()


def push(client, event, ref, payload=None, join_ref="1"):
    client.receive(json.dumps([join_ref, ref, TOPIC, event, payload or {}]))


def reply(ref, status, response):
    return ["1", ref, TOPIC, "phx_reply", {"status": status, "response": response}]


async def test_a_push_is_handled_and_answered(joined):
    async def double(given):
        assert (given.principal, given.topic) == (ANN, TOPIC)
        return {"twice": given.payload["number"] * 2}

    client, outlet = await joined({"double": double})
    push(client, "double", "2", {"number": 21})
    assert await outlet.next() == reply("2", "ok", {"twice": 42})


async def test_pushes_of_one_channel_are_handled_one_after_another(joined):
    under_way, most, gate = 0, 0, asyncio.Event()

    async def work(_):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return {}

    client, outlet = await joined({"work": work})
    for ref in "234":
        push(client, "work", ref)
    gate.set()
    assert [(await outlet.next())[1] for _ in range(3)] == ["2", "3", "4"]
    assert most == 1


async def test_an_error_of_the_service_is_the_reply(joined):
    async def fail(_):
        raise NotFound("No such account")

    client, outlet = await joined({"fail": fail})
    push(client, "fail", "2")
    assert await outlet.next() == reply("2", "error", {"reason": "not_found", "detail": "No such account"})


async def test_a_handler_that_takes_too_long_is_given_up(joined):
    async def hang(_):
        await asyncio.Event().wait()

    client, outlet = await joined({"hang": hang}, handler_timeout_s=0.01)
    push(client, "hang", "2")
    answer = await outlet.next()
    assert (answer[1], answer[4]["status"], answer[4]["response"]["reason"]) == ("2", "error", "timeout")


async def test_a_handler_that_fails_ends_its_channel_and_the_client_may_join_again(joined):
    async def fail(_):
        raise ZeroDivisionError

    client, outlet = await joined({"fail": fail})
    with capture_logs() as lines:
        push(client, "fail", "2")
        assert await outlet.next() == ["1", "1", TOPIC, "phx_error", {"reason": "channel_crash"}]
    assert [line["event"] for line in lines] == ["channel_crashed"]
    push(client, "phx_join", "3", join_ref="3")
    assert (await outlet.next())[:3] == ["3", "3", TOPIC]


async def test_a_join_that_fails_for_a_fault_of_ours_is_told_so(joined):
    client, outlet = await joined({})
    del client._channels.hub._topics[TOPIC]  # now the notifier would be asked, and there is no node to do it
    with capture_logs() as lines:
        push(client, "phx_join", "2", join_ref="2")
        answer = ["2", "2", TOPIC, "phx_reply", {"status": "error", "response": {"reason": "join crashed"}}]
        assert await outlet.next() == answer
    assert [line["event"] for line in lines] == ["join_crashed"]
    assert await outlet.next() == ["1", "1", TOPIC, "phx_close", {}]


async def test_what_was_pushed_to_a_channel_that_was_left_is_not_begun(joined):
    gate, begun = asyncio.Event(), []

    async def work(given):
        begun.append(given.payload["number"])
        await gate.wait()
        return {}

    client, outlet = await joined({"work": work})
    push(client, "work", "2", {"number": 1})
    await asyncio.sleep(0)
    push(client, "work", "3", {"number": 2})
    push(client, "phx_leave", "4")
    gate.set()
    assert [(await outlet.next())[3] for _ in range(2)] == ["phx_reply", "phx_close"]
    push(client, "phx_join", "5", join_ref="5")
    push(client, "phx_leave", "6", join_ref="5")
    assert (await outlet.next())[1] == "6"
    assert begun == [1]


async def test_a_client_that_sends_more_than_it_may_is_flooding(joined):
    client, _ = await joined({}, pushes_per_s=1.0)  # five at once, one of which was the join
    for ref in range(4):
        push(client, "heartbeat", ref)
    with pytest.raises(Flooding):
        push(client, "heartbeat", "x")
