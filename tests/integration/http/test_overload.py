"""A front that is asked for too much refuses before any effect; who is too slow does not hold what others need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import uuid

import pytest
import pytest_asyncio

from tests.integration.http.test_errors import assert_problem
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_REQUESTS, MOST_CONNECTIONS = 4, 40
#: A refusal needs nothing but to be written.
REFUSED_WITHIN_S = 0.3
PATIENCE = {"head_s": 1.0, "stuck_s": 1.0}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def small(postgres, database_url, tmp_path_factory):
    """A service whose one front takes little on, and has little patience."""
    running = await Service.start(
        database_url,
        tmp_path_factory.mktemp("small"),
        program="tests.given_fronts",
        TEST_FRONT_ARGS=json.dumps({"patience": PATIENCE}),
        BITNEXUS_FRONTS="1",
        BITNEXUS_MAX_REQUESTS=str(MOST_REQUESTS),
        BITNEXUS_MAX_CONNECTIONS=str(MOST_CONNECTIONS),
        BITNEXUS_RATE_LIMITS="false",
    )
    yield running
    assert await running.stop() == 0


async def connect(service):
    return await asyncio.open_connection("127.0.0.1", service.port)


def half_a_login():
    """The head of a request that is under way until its body comes."""
    return (
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )


async def held(service):
    """A connection with a request under way that waits for the rest of its body; None if it was refused."""
    reader, writer = await connect(service)
    writer.write(half_a_login())
    try:
        async with asyncio.timeout(REFUSED_WITHIN_S):
            await reader.read(1)
    except TimeoutError:
        return writer
    writer.close()
    return None


@contextlib.asynccontextmanager
async def busy(service):
    """As many requests under way as there may be; while others are still being finished, some are refused at first."""
    opened: list[asyncio.StreamWriter] = []
    try:
        async with asyncio.timeout(20):
            while len(opened) < MOST_REQUESTS:
                tried = await asyncio.gather(*(held(service) for _ in range(MOST_REQUESTS - len(opened))))
                opened += [writer for writer in tried if writer is not None]
        yield
    finally:
        for writer in opened:
            writer.close()
            await writer.wait_closed()


async def until_refused(service, **options):
    async with asyncio.timeout(20):
        while True:
            answer = await service.call("GET", "/api/v1/users/me", **options)
            if answer[0] == 503:
                return answer
            await asyncio.sleep(0.02)


async def until_served(service, **options):
    async with asyncio.timeout(20):
        while (await service.call("GET", "/api/v1/users/me", **options))[0] != 200:
            await asyncio.sleep(0.02)


async def test_a_request_too_many_is_refused_before_any_effect_and_probes_are_answered(small):
    ann, ben = await small.register(), await small.register()
    await small.fund(ann, 100)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    async with busy(small):
        status, answer, headers = await until_refused(small, user=ann)
        assert_problem(answer, headers, 503, "overloaded")
        assert headers["Retry-After"] == "1"
        for _ in range(3):  # a transfer has a way of its own through the front
            status, answer, headers = await small.transfer(ann, ben, 60, headers=key)
            assert_problem(answer, headers, 503, "overloaded")
        status, answer, _ = await small.call("GET", "/health/live")
        assert (status, answer["status"]) == (200, "live")
    await until_served(small, user=ann)
    _, answer, _ = await small.call("GET", f"/api/v1/accounts/{ann.account_id}", user=ann)
    assert answer["data"]["balance"] == 100, "no effect"
    status, _, headers = await small.transfer(ann, ben, 60, headers=key)
    assert (status, "Idempotent-Replayed" in headers) == (201, False)


async def test_sockets_and_polls_take_no_room(small):
    ann = await small.register()
    url = f"/socket/websocket?vsn=2.0.0&token={ann.token}"
    sockets = [await small.session.ws_connect(url) for _ in range(MOST_REQUESTS + 1)]
    try:
        assert (await small.call("GET", "/api/v1/users/me", user=ann))[0] == 200
        await sockets[0].send_json(["1", "1", f"transaction:{ann.id}", "phx_join", {}])
        async with asyncio.timeout(10):
            assert (await sockets[0].receive_json())[4]["status"] == "ok"
    finally:
        for each in sockets:
            await each.close()


async def test_a_connection_too_many_is_turned_away_and_the_others_go_on(small):
    ann = await small.register()
    opened = [await connect(small) for _ in range(MOST_CONNECTIONS)]
    try:
        reader, writer = await connect(small)
        writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "overloaded"
        writer.close()
        assert (await small.call("GET", "/api/v1/users/me", user=ann))[0] == 200, "on the connection that it has"
    finally:
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()
    await small.reconnect()
    await until_served(small, user=ann)


@pytest.mark.parametrize("after", [b"", b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["first", "second"])
async def test_a_head_that_comes_bit_by_bit_is_cut_off(small, after):
    reader, writer = await connect(small)
    writer.write(after)
    if after:
        await reader.readuntil(b'{"status":"live"}')
    writer.write(b"GET /health HTTP/1.1\r\n")
    answer = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(20):
        while not answer.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"X: y\r\n")
            await asyncio.wait({answer}, timeout=0.1)
    assert (await answer).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_client_that_pauses_between_requests_is_not_cut_off(small):
    reader, writer = await connect(small)
    for part in (b"GET /health/live HTTP/1.1\r\n", b"Host: a\r\n\r\n"):
        writer.write(part)
        await asyncio.sleep(0.2)
    await reader.readuntil(b'{"status":"live"}')
    await asyncio.sleep(2.5 * PATIENCE["head_s"])
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b'{"status":"live"}')
    writer.close()


async def test_a_client_that_takes_no_answers_is_cut_off(small):
    before = len(cut_off(small))
    with socket.create_connection(("127.0.0.1", small.port)) as reluctant:
        reluctant.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reluctant.settimeout(0)
        request = b"GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
        async with asyncio.timeout(40):
            while len(cut_off(small)) == before:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    reluctant.send(request)
                await asyncio.sleep(0.02)
    status, _, _ = await small.call("GET", "/health")
    assert status == 200


def cut_off(service):
    return [line for line in service.running.log_lines() if "slow_reader_cut_off" in line]
