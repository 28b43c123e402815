from __future__ import annotations

import asyncio

import pytest

from tests.browser.node_client import PhoenixClient, installed_packages
from tests.disconnecting import disconnect
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


each_phoenix = pytest.mark.parametrize("phoenix", ["phoenix", "phoenix-1-7"])
REFUSED = {"status": "error", "response": {"reason": "unmatched event"}}
each_transport = pytest.mark.parametrize("transport", ["websocket", "longpoll"])


async def until_joined(npm):
    async with asyncio.timeout(20):
        while True:
            await npm.do("state")
            if (await npm.next("state"))["state"] == "joined":
                return


@pytest.mark.timeout(180)  # the first run installs the client
@pytest.mark.parametrize(
    ("phoenix", "transport", "way"),
    [
        ("phoenix", "websocket", "token"),
        ("phoenix", "websocket", "authToken"),
        ("phoenix", "longpoll", "token"),
        ("phoenix", "longpoll", "authToken"),
        ("phoenix-1-7", "websocket", "token"),  # it knows no authToken
        ("phoenix-1-7", "longpoll", "token"),
    ],
)
async def test_the_npm_client_joins_hears_of_transfers_pushes_and_leaves(service, client, phoenix, transport, way):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    topic = f"transaction:{ben.id}"
    npm = await client(service, topic=topic, heartbeatMs=100, phoenix=phoenix, transport=transport, **{way: ben.token})
    assert (await npm.next("open"))["polls"] == (transport == "longpoll")
    assert (await npm.next("joined"))["response"] == {}
    for amount in (1, 2):
        _, answer, _ = await service.transfer(ann, ben, amount)
        assert (await npm.next("new_transaction"))["payload"] == answer["data"]
    for payload in ({"a": 1}, "bytes"):
        await npm.do("push", payload=payload)
        assert (await npm.next("replied")) == {"what": "replied", **REFUSED}
    if transport == "websocket":  # who polls needs no heartbeat
        for _ in range(3):
            assert (await npm.next("heartbeat"))["status"] == "ok"
    await npm.do("leave")
    await npm.next("left")
    await npm.next("channel_closed")
    await service.transfer(ann, ben, 3)
    if transport == "websocket":
        await npm.next("heartbeat")
    assert npm.told("new_transaction") == 2
    await npm.do("disconnect")
    assert await npm.ended() == 0


@each_phoenix
@each_transport
async def test_the_npm_client_is_refused_another_users_topic(service, client, phoenix, transport):
    ann, ben = await service.register(), await service.register()
    npm = await client(
        service,
        topic=f"transaction:{ben.id}",
        heartbeatMs=1000,
        token=ann.token,
        phoenix=phoenix,
        transport=transport,
    )
    assert (await npm.next("join_refused"))["response"] == {"reason": "unauthorized"}


@each_phoenix
@each_transport
async def test_the_npm_client_comes_back_by_itself_after_its_front_was_killed(service, client, phoenix, transport):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    topic = f"transaction:{ann.id}"
    npm = await client(service, topic=topic, heartbeatMs=1000, token=ann.token, phoenix=phoenix, transport=transport)
    await npm.next("joined")
    await service.kill("http-0", "http-1")  # one after another it might be thrown out twice
    await service.reconnect()
    await npm.next("close")
    await until_joined(npm)
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert (await npm.next("new_transaction"))["payload"] == answer["data"]


@each_phoenix
async def test_the_npm_client_polls_when_no_websocket_gets_through(service, client, phoenix):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    topic = f"transaction:{ann.id}"
    npm = await client(service, topic=topic, heartbeatMs=1000, token=ann.token, phoenix=phoenix, transport="fallback")
    while not (await npm.next("open"))["polls"]:
        pass
    await npm.next("joined")
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert (await npm.next("new_transaction"))["payload"] == answer["data"]


@each_phoenix
@each_transport
async def test_the_npm_client_comes_back_after_a_forced_disconnect(service, client, phoenix, transport):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    topic = f"transaction:{ann.id}"
    npm = await client(service, topic=topic, heartbeatMs=1000, token=ann.token, phoenix=phoenix, transport=transport)
    await npm.next("joined")
    assert await disconnect(service, ann) == 1
    assert (await npm.next("close"))["code"] == (1001 if transport == "websocket" else 1011)
    await until_joined(npm)
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert (await npm.next("new_transaction"))["payload"] == answer["data"]
