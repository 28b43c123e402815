"""The npm client where things go wrong, and its Presence: one service for all, with handlers for pushes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid

import asyncpg
import psutil
import pytest
import pytest_asyncio

from bitnexus.tokens import AccessTokens
from tests.browser.node_client import PhoenixClient, installed_packages
from tests.service import Service, User, new_session

pytestmark = pytest.mark.asyncio(loop_scope="session")

each_phoenix = pytest.mark.parametrize("phoenix", ["phoenix", "phoenix-1-7"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(database_url, tmp_path_factory):
    directory = tmp_path_factory.mktemp("conformance")
    running = await Service.start(database_url, directory, program="tests.given_handlers")
    yield running
    assert await running.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def client():
    started = []

    async def start(service, **options):
        url = f"ws://127.0.0.1:{service.port}/socket"
        started.append(await PhoenixClient.start(installed_packages(), url=url, **options))
        return started[-1]

    yield start
    for each in started:
        await each.stop()


async def until_joined(npm):
    async with asyncio.timeout(20):
        while True:
            await npm.do("state")
            if (await npm.next("state"))["state"] == "joined":
                return


@each_phoenix
async def test_the_npm_client_pushes_text_and_binary_and_joins_anew_after_its_channel_crashed(service, client, phoenix):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    npm = await client(service, topic=f"transaction:{ann.id}", heartbeatMs=1000, token=ann.token, phoenix=phoenix)
    await npm.next("joined")
    await npm.do("push", payload={"a": [1, None]})
    assert (await npm.next("replied"))["response"] == {"echo": {"a": [1, None]}}
    await npm.do("push", payload="bytes")
    assert (await npm.next("replied"))["response"] == "setyb"
    await npm.do("push", payload={"crash": True})
    await npm.next("channel_error")
    await until_joined(npm)
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert (await npm.next("new_transaction"))["payload"] == answer["data"]
    assert npm.told("open") == 1  # the socket stayed
    # A second channel takes the place of the first, which is closed and hears nothing more.
    await npm.do("join again")
    await npm.next("second_joined")
    await npm.next("channel_closed")
    _, answer, _ = await service.transfer(ann, ben, 2)
    assert (await npm.next("second_new_transaction"))["payload"] == answer["data"]
    assert npm.told("new_transaction") == 1


@each_phoenix
async def test_the_npm_client_comes_back_when_heartbeats_are_not_answered(service, client, phoenix):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    npm = await client(service, topic=f"transaction:{ann.id}", heartbeatMs=200, token=ann.token, phoenix=phoenix)
    await npm.next("joined")
    await npm.next("heartbeat")
    pids = await service.pids()
    fronts = [pid for name, pid in pids.items() if name.startswith("http-")]
    for pid in fronts:
        os.kill(pid, signal.SIGSTOP)
    try:
        await npm.next("channel_error")  # it has waited long enough; the fronts' supervisor has not
        assert all(map(psutil.pid_exists, fronts))
    finally:
        for pid in fronts:
            os.kill(pid, signal.SIGCONT)
    await until_joined(npm)
    await service.reconnect()
    _, answer, _ = await service.transfer(ann, ben, 1)
    assert (await npm.next("new_transaction"))["payload"] == answer["data"]


async def another_admin(service):
    id_ = str(uuid.uuid4())
    connection = await asyncpg.connect(service.environment["DATABASE_URL"])
    try:
        columns = "INSERT INTO users (id, email, name, password_hash, role) VALUES ($1, $2, 'x', '!', 'admin')"
        await connection.execute(columns, id_, f"{id_}@example.com")
    finally:
        await connection.close()
    return User(id_, "", "", AccessTokens(service.environment["SECRET_KEY_BASE"], 900).issue(id_, "admin"))


async def joined_socket(service, user, topic):
    session = new_session(service.port)
    ws = await session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={user.token}")
    await ws.send_str(json.dumps(["1", "1", topic, "phx_join", {}]))
    assert json.loads(await ws.receive_str(timeout=20))[4]["status"] == "ok"
    return session, ws  # without a reference to it, it would be closed


@each_phoenix
async def test_the_npm_clients_presence_follows_who_comes_and_goes_at_all_fronts(service, client, phoenix):
    own, other = await service.admin(), await another_admin(service)
    npm = await client(service, topic="admin:metrics", heartbeatMs=1000, token=own.token, phoenix=phoenix)

    async def until(condition):
        async with asyncio.timeout(20):
            while not condition((told := await npm.next("presences"))["present"]):
                pass
            return told["present"]

    first = await until(lambda present: own.id in present)
    assert len(first[own.id]) == 1
    # Enough of them that both fronts have some.
    sockets = [await joined_socket(service, other, "admin:metrics") for _ in range(6)]
    present = await until(lambda present: len(present.get(other.id, ())) == 6)
    assert present[own.id] == first[own.id]
    session, _ = sockets.pop()
    await session.close()
    await until(lambda present: len(present[other.id]) == 5)
    for session, _ in sockets:
        await session.close()
    assert await until(lambda present: other.id not in present) == first
    gone: list[str] = []
    while len(gone) < 6:  # those who leave another front together may be told of together
        gone += (await npm.next("absent"))["refs"]
    assert sorted(gone) == sorted(present[other.id])
