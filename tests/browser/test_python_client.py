"""A public Python client, unmodified, in both versions of the protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from phoenix_channels_python_client import PhoenixChannelsProtocolVersion, PHXChannelsClient
from phoenix_channels_python_client.exceptions import PHXTopicError

from tests.service import Service

each_version = pytest.mark.parametrize("version", list(PhoenixChannelsProtocolVersion))


@pytest.fixture
async def service(fresh_database_url, tmp_path):
    running = await Service.start(fresh_database_url, tmp_path)
    yield running
    assert await running.stop() == 0


def connect(service, user, version, **options):
    url = f"ws://127.0.0.1:{service.port}/socket/websocket?token={user.token}"
    return PHXChannelsClient(url, "not used", protocol_version=version, heartbeat_interval_s=0.1, **options)


@each_version
async def test_it_joins_and_leaves_and_its_heartbeats_are_answered(service, version):
    answered: asyncio.Queue[None] = asyncio.Queue()
    ann = await service.register()
    topic = f"transaction:{ann.id}"
    async with connect(service, ann, version, on_heartbeat_ack=lambda: answered.put_nowait(None)) as client:
        for _ in range(2):
            await client.subscribe_to_topic(topic)
            assert client.is_topic_joined(topic)
            for _ in range(2):
                await asyncio.wait_for(answered.get(), 10)
            assert client.is_topic_joined(topic)
            await client.unsubscribe_from_topic(topic)
            assert not client.is_topic_joined(topic)


@each_version
async def test_it_is_refused_another_users_topic(service, version):
    ann, ben = await service.register(), await service.register()
    async with connect(service, ann, version) as client:
        with pytest.raises(PHXTopicError, match="unauthorized"):
            await client.subscribe_to_topic(f"transaction:{ben.id}")


async def test_it_hears_of_transfers_also_after_its_front_was_killed(service):
    # In version 2 this client drops every broadcast, Phoenix's as well: it wants a join_ref in them.
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    heard: asyncio.Queue[Any] = asyncio.Queue()
    topic = f"transaction:{ann.id}"
    async with connect(service, ann, PhoenixChannelsProtocolVersion.V1) as client:
        await client.subscribe_to_topic(topic, heard.put)
        _, answer, _ = await service.transfer(ann, ben, 1)
        message = await asyncio.wait_for(heard.get(), 10)
        assert (str(message.event), message.payload) == ("new_transaction", answer["data"])
        for name in ("http-0", "http-1"):
            await service.kill(name)
        await service.reconnect()
        async with asyncio.timeout(30):
            while heard.empty():  # what happens while it is away it does not hear of
                await service.transfer(ann, ben, 1)
                await asyncio.sleep(0.2)
