"""Who is cut off, with which code, and that nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import socket
import statistics
import time

import aiohttp
import pytest
import pytest_asyncio

from bitnexus.errors import Forbidden
from tests.disconnecting import disconnect
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/socket/websocket"
BEAT = '[null,"1","phoenix","heartbeat",{}]'


def connect(service, token, **options):
    return service.session.ws_connect(f"{PATH}?vsn=2.0.0&token={token}", **options)


async def closed(ws):
    while True:
        message = await ws.receive(timeout=10)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            return ws.close_code


async def joined(ws, topic):
    await ws.send_str(json.dumps(["1", "1", topic, "phx_join", {}]))
    answer = json.loads(await ws.receive_str(timeout=10))
    assert answer[4]["status"] == "ok", answer
    return ws


async def open_poll(service, user):
    _, answer, _ = await service.call("GET", f"/socket/longpoll?vsn=2.0.0&token={user.token}")
    assert answer["status"] == 410
    return answer["token"]


async def poll(service, session):
    _, answer, _ = await service.call("GET", f"/socket/longpoll?vsn=2.0.0&token={session}")
    return answer["status"]


async def told_after_s(service, payer, payee, amount, readers):
    """How long it takes until all of these readers have heard of a transfer, and of nothing else before it."""
    began = time.monotonic()
    await service.transfer(payer, payee, amount)
    for ws in readers:
        assert json.loads(await ws.receive_str(timeout=10))[4]["amount"] == amount
    return time.monotonic() - began


async def test_a_client_that_floods_is_closed_with_1008_and_its_neighbours_hear_of_every_transfer(service):
    ann, ben, eve = [await service.register() for _ in range(3)]
    await service.fund(ann, 100)
    quiet = [await joined(await connect(service, ann.token), f"transaction:{ann.id}") for _ in range(4)]
    flooding = [await connect(service, eve.token) for _ in range(4)]
    in_peace_s = [await told_after_s(service, ann, ben, 1, quiet) for _ in range(10)]

    async def flood(ws):
        with contextlib.suppress(ConnectionError):
            while not ws.closed:
                await ws.send_str(BEAT)
                await asyncio.sleep(0)  # it listens as well

    floods = [asyncio.create_task(flood(ws)) for ws in flooding]
    closings = [asyncio.create_task(closed(ws)) for ws in flooding]
    meanwhile_s = [await told_after_s(service, ann, ben, amount, quiet) for amount in range(1, 11)]
    # The client that floods is of this process, too: half of what it costs is its own time.
    assert statistics.median(meanwhile_s) < 10 * statistics.median(in_peace_s) + 0.25
    assert await asyncio.gather(*closings) == [1008] * 4
    await asyncio.gather(*floods)
    async with connect(service, eve.token) as again:
        await joined(again, f"transaction:{eve.id}")
    for ws in quiet:
        assert not ws.closed
        await ws.close()


async def test_every_connection_of_a_user_is_closed_everywhere_and_nobody_elses(service):
    ann, ben = await service.register(), await service.register()
    own = [await joined(await connect(service, ann.token), f"transaction:{ann.id}") for _ in range(8)]
    other = await joined(await connect(service, ben.token), f"transaction:{ben.id}")
    sessions = [await open_poll(service, ann) for _ in range(4)]
    closings = [asyncio.create_task(closed(ws)) for ws in own]
    polls = [asyncio.create_task(poll(service, session)) for session in sessions]
    others_session = await open_poll(service, ben)
    with pytest.raises(Forbidden):
        await disconnect(service, ann, role="user")
    assert await disconnect(service, ann) == 12
    assert await asyncio.gather(*closings) == [1001] * 8
    assert await asyncio.gather(*polls) == [500] * 4
    assert await disconnect(service, ann) == 0
    assert not other.closed
    await joined(other, f"transaction:{ben.id}")
    status, answer, _ = await service.call("POST", f"/socket/longpoll?vsn=2.0.0&token={others_session}", data=BEAT)
    assert (status, answer) == (200, {"status": 200})
    await other.close()
    async with connect(service, ann.token) as again:
        await joined(again, f"transaction:{ann.id}")


@pytest_asyncio.fixture(loop_scope="session")
async def unhurried(fresh_database_url, tmp_path):
    """A service of one front that lets its clients send as much as they like."""
    args = json.dumps({"pushes_per_s": 1e9})
    running = await Service.start(
        fresh_database_url, tmp_path, program="tests.given_fronts", TEST_FRONT_ARGS=args, BITNEXUS_FRONTS="1"
    )
    yield running
    assert await running.stop() == 0


async def test_polls_that_wait_are_answered_when_their_front_stops(unhurried):
    ann = await unhurried.register()
    session = await open_poll(unhurried, ann)
    polling = asyncio.create_task(poll(unhurried, session))
    await unhurried.call("GET", "/health/live")  # on the next connection: the poll has been read before it
    unhurried.running.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):  # its window is 10 s
        assert await polling == 500


def client_frame(text):
    """A text frame as clients send it; a mask of zeros leaves the payload as it is."""
    payload = text.encode()
    assert 126 <= len(payload) < 2**16
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload


async def raw_socket(service, user):
    """A connection whose kernel takes little in advance."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(0)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", service.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    key = base64.b64encode(bytes(16)).decode()
    writer.write(
        f"GET {PATH}?vsn=2.0.0&token={user.token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readline()
    return reader, writer


async def test_a_client_that_does_not_read_is_cut_off_with_1013_and_its_neighbours_hear_of_every_transfer(
    unhurried, tmp_path
):
    ann, ben = await unhurried.register(), await unhurried.register()
    await unhurried.fund(ann, 10_000)
    quiet = await joined(await connect(unhurried, ann.token), f"transaction:{ann.id}")
    in_peace_s = [await told_after_s(unhurried, ann, ben, 1, [quiet]) for _ in range(10)]
    reader, writer = await raw_socket(unhurried, ben)
    beat = client_frame(json.dumps([None, "x" * 60, "phoenix", "heartbeat", {"pad": "x" * 64}]))

    async def beat_for_ever():
        while True:
            writer.write(beat * 100)
            await writer.drain()

    beating = asyncio.create_task(beat_for_ever())
    async with asyncio.timeout(40):
        meanwhile_s: list[float] = []
        while "slow_reader_cut_off" not in (tmp_path / "log").read_text():
            meanwhile_s.append(await told_after_s(unhurried, ann, ben, 1 + len(meanwhile_s) % 3, [quiet]))
    beating.cancel()
    if meanwhile_s:  # on a quick machine it is over before the first transfer
        assert statistics.median(meanwhile_s) < 10 * statistics.median(in_peace_s) + 0.25
    tail = b""
    try:
        async with asyncio.timeout(20):
            while data := await reader.read(65_536):
                tail = (tail + data)[-100:]
    except ConnectionResetError:
        pass  # it was cut before it had read all
    else:
        assert tail.endswith(b"\x88\x0a\x03\xf5too slow")
    writer.close()
    await quiet.close()
