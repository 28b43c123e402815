"""Starts, stops and faults of fronts: each test has a service of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres
from tests.service import Service

BODY = b'{"user": {"email": "nobody@example.com", "password": "long enough"}}'
HEAD = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


@pytest_asyncio.fixture
async def own_service(fresh_database_url, tmp_path):
    running = await Service.start(fresh_database_url, tmp_path, BITNEXUS_CALL_TIMEOUT_S="1")
    yield running
    assert await running.stop() == 0


@pytest_asyncio.fixture
async def one_front(fresh_database_url, tmp_path):
    running = await Service.start(fresh_database_url, tmp_path, BITNEXUS_FRONTS="1")
    yield running
    assert await running.stop() == 0


@pytest_asyncio.fixture
async def strict_service(fresh_database_url, tmp_path):
    args = json.dumps({"idle_s": 0.3, "origins": ["https://app.example.com"]})
    running = await Service.start(fresh_database_url, tmp_path, program="tests.given_fronts", TEST_FRONT_ARGS=args)
    yield running
    assert await running.stop() == 0


async def refuses_connections(port):
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_a_request_in_flight_is_finished_when_the_service_stops(one_front):
    reader, writer = await asyncio.open_connection("127.0.0.1", one_front.port)
    writer.write(HEAD + BODY[:10])
    await writer.drain()
    await one_front.call("GET", "/health/live")
    one_front.running.process.send_signal(signal.SIGTERM)
    await refuses_connections(one_front.port)
    writer.write(BODY[10:])
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"invalid_credentials" in answer
    writer.close()


async def test_sockets_are_closed_with_1012_when_the_service_stops(one_front):
    ann = await one_front.register()
    async with one_front.session.ws_connect(f"/socket/websocket?vsn=2.0.0&token={ann.token}") as ws:
        one_front.running.process.send_signal(signal.SIGTERM)
        message = await ws.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert ws.close_code == 1012


async def test_the_other_front_serves_while_one_is_killed_and_the_killed_one_comes_back(own_service):
    await own_service.kill("http-0")
    for _ in range(50):
        await own_service.reconnect()  # to one or the other
        assert (await own_service.call("GET", "/health/live"))[0] == 200


@contextlib.asynccontextmanager
async def ledger_that_does_not_answer(database_url):
    """It lives and cannot commit: one that was stopped would be killed and replaced after three seconds."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ledger_blocks IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_a_registration_without_ledger_is_mended_by_the_first_look_at_the_accounts(own_service):
    async with ledger_that_does_not_answer(own_service.environment["DATABASE_URL"]):
        body = {"user": {"email": "ann@example.com", "password": "long enough"}}
        status, answer, _ = await own_service.call("POST", "/api/v1/auth/register", json=body)
        assert (status, answer["data"]["account_id"]) == (201, None)
        token = await own_service.login("ann@example.com", "long enough")
        headers = {"Authorization": f"Bearer {token}"}
        status, answer, got = await own_service.call("GET", "/api/v1/accounts", headers=headers)
        assert (status, answer["code"], got["Retry-After"]) == (503, "timeout", "1")
    looks = (own_service.call("GET", "/api/v1/accounts", headers=headers) for _ in range(8))
    answers = await asyncio.gather(*looks)
    assert {status for status, _, _ in answers} == {200}
    assert len({answer["data"][0]["id"] for _, answer, _ in answers}) == 1


async def test_without_its_database_the_service_says_so_and_recovers_by_itself(tmp_path):
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    server.start()
    try:
        await schema.migrate(server.url)
        service = await Service.start(server.url, tmp_path)
        try:
            ann = await service.register()
            server.stop()
            await health_becomes(service, 503)
            status, answer, headers = await service.call("GET", "/api/v1/users/me", user=ann)
            assert (status, answer["code"], headers["Retry-After"]) == (503, "database_unavailable", "1")
            status, _, _ = await service.call("GET", "/health/ready")
            assert status == 503
            assert (await service.call("GET", "/health/live"))[0] == 200
            server.start()
            await health_becomes(service, 200)
            status, _, _ = await service.call("GET", "/api/v1/users/me", user=ann)
            assert status == 200
        finally:
            await service.stop()
    finally:
        server.stop()


async def test_a_silent_socket_is_closed_and_one_that_beats_is_not(strict_service):
    ann = await strict_service.register()
    path = f"/socket/websocket?vsn=2.0.0&token={ann.token}"
    async with strict_service.session.ws_connect(path) as silent, strict_service.session.ws_connect(path) as alive:

        async def beat():
            while True:
                await alive.send_str('[null,"1","phoenix","heartbeat",{}]')
                await alive.receive_str()

        beating = asyncio.create_task(beat())
        message = await silent.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert silent.close_code == 1002
        assert not beating.done()
        beating.cancel()


async def test_pages_of_the_origins_that_were_set_alone_may_connect(strict_service):
    ann = await strict_service.register()
    path = f"/socket/websocket?vsn=2.0.0&token={ann.token}"
    async with strict_service.session.ws_connect(path, headers={"Origin": "https://app.example.com"}):
        pass
    for origin in (f"http://127.0.0.1:{strict_service.port}", "https://app.example.com.evil.com"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await strict_service.session.ws_connect(path, headers={"Origin": origin})
        assert caught.value.status == 403


async def health_becomes(service, wanted):
    async with asyncio.timeout(20):
        while True:
            status, answer, _ = await service.call("GET", "/health")
            if status == wanted:
                assert answer["database"] == ("connected" if wanted == 200 else "disconnected")
                return
            await asyncio.sleep(0.05)
