"""Another public Python client, unmodified: threads and callbacks, version 1.0.0 of the protocol, no reconnect."""

from __future__ import annotations

import asyncio
import queue
import time

import phxsocket
import pytest
import pytest_asyncio
from phxsocket.channel import ChannelConnectError

from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(database_url, tmp_path_factory):
    running = await Service.start(database_url, tmp_path_factory.mktemp("second"))
    yield running
    assert await running.stop() == 0


class Listener:
    """A connected client of one topic; its methods block."""

    def __init__(self, service, user, topic):
        self.heard: queue.Queue = queue.Queue()
        self.closed: queue.Queue = queue.Queue()
        self.client = phxsocket.Client(f"ws://127.0.0.1:{service.port}/socket/websocket", {"token": user.token})
        self.client.heartbeat_interval = 0.1
        self.client.on_close = self.closed.put
        assert self.client.connect()
        self.channel = self.client.channel(topic)
        self.channel.on("new_transaction", self.heard.put)

    def join(self):
        return self.channel.join()

    def next(self):
        return self.heard.get(timeout=PATIENCE_S)

    def push(self, event, payload):
        return self.channel.push(event, payload, reply=True).wait_for_response()

    def leave(self):
        left = self.client.push(self.channel.topic, phxsocket.channel.ChannelEvents.LEAVE, {}, reply=True)
        return left.wait_for_response()

    def close(self):
        self.client.close()


async def test_it_joins_hears_of_transfers_pushes_and_leaves_and_its_heartbeats_keep_it_open(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    listener = await asyncio.to_thread(Listener, service, ann, f"transaction:{ann.id}")
    assert await asyncio.to_thread(listener.join) == {}
    for amount in (1, 2):
        _, answer, _ = await service.transfer(ann, ben, amount)
        assert await asyncio.to_thread(listener.next) == answer["data"]
    refused = await asyncio.to_thread(listener.push, "no such event", {"a": 1})
    assert refused == {"status": "error", "response": {"reason": "unmatched event"}}
    assert (await asyncio.to_thread(listener.leave))["status"] == "ok"
    await service.transfer(ann, ben, 3)
    assert await asyncio.to_thread(listener.join) == {}
    _, answer, _ = await service.transfer(ann, ben, 4)
    heard = await asyncio.to_thread(listener.next)
    if heard["amount"] == 3:  # the notifier may have heard of it after the join
        heard = await asyncio.to_thread(listener.next)
    assert heard == answer["data"]
    assert listener.closed.empty()
    await asyncio.to_thread(listener.close)


async def test_it_is_refused_another_users_topic(service):
    ann, ben = await service.register(), await service.register()
    listener = await asyncio.to_thread(Listener, service, ann, f"transaction:{ben.id}")
    with pytest.raises(ChannelConnectError, match="unauthorized"):
        await asyncio.to_thread(listener.join)
    await asyncio.to_thread(listener.close)


async def test_it_learns_that_its_front_was_killed_and_connects_to_the_next_one(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    listener = await asyncio.to_thread(Listener, service, ann, f"transaction:{ann.id}")
    await asyncio.to_thread(listener.join)
    await service.kill("http-0", "http-1")
    began = time.monotonic()
    await asyncio.to_thread(listener.closed.get, timeout=PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S
    await service.reconnect()
    listener = await asyncio.to_thread(Listener, service, ann, f"transaction:{ann.id}")
    await asyncio.to_thread(listener.join)
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert await asyncio.to_thread(listener.next) == answer["data"]
    await asyncio.to_thread(listener.close)
