from __future__ import annotations

import pytest

from tests.browser.node_client import PhoenixClient, installed_packages
from tests.service import Service


@pytest.fixture(scope="session")
def packages():
    return installed_packages()


@pytest.fixture
async def service(fresh_database_url, tmp_path):
    running = await Service.start(fresh_database_url, tmp_path)
    yield running
    assert await running.stop() == 0


@pytest.fixture
async def client(packages):
    started = []

    async def start(service, **options):
        url = f"ws://127.0.0.1:{service.port}/socket"
        started.append(await PhoenixClient.start(packages, url=url, **options))
        return started[-1]

    yield start
    for each in started:
        await each.stop()


@pytest.mark.timeout(180)  # the first run installs the client
@pytest.mark.parametrize("way", ["token", "authToken"])
async def test_the_npm_client_joins_hears_of_transfers_beats_and_leaves(service, client, way):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    phoenix = await client(service, topic=f"transaction:{ben.id}", heartbeatMs=100, **{way: ben.token})
    assert (await phoenix.next("joined"))["response"] == {}
    for amount in (1, 2):
        _, answer, _ = await service.transfer(ann, ben, amount)
        assert (await phoenix.next("new_transaction"))["payload"] == answer["data"]
    for _ in range(3):
        assert (await phoenix.next("heartbeat"))["status"] == "ok"
    await phoenix.do("leave")
    await phoenix.next("left")
    await phoenix.next("channel_closed")
    await service.transfer(ann, ben, 3)
    await phoenix.next("heartbeat")
    assert phoenix.told("new_transaction") == 2
    await phoenix.do("disconnect")
    assert await phoenix.ended() == 0


async def test_the_npm_client_is_refused_another_users_topic(service, client):
    ann, ben = await service.register(), await service.register()
    phoenix = await client(service, topic=f"transaction:{ben.id}", heartbeatMs=1000, token=ann.token)
    assert (await phoenix.next("join_refused"))["response"] == {"reason": "unauthorized"}


async def test_the_npm_client_comes_back_by_itself_after_its_front_was_killed(service, client):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    phoenix = await client(service, topic=f"transaction:{ann.id}", heartbeatMs=1000, token=ann.token)
    await phoenix.next("joined")
    await service.kill("http-0", "http-1")  # one after another it might be thrown out twice
    await service.reconnect()
    await phoenix.next("close")
    await phoenix.next("open")
    await phoenix.next("open")
    await phoenix.next("joined")
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert (await phoenix.next("new_transaction"))["payload"] == answer["data"]
