from __future__ import annotations

import asyncio
import base64
import json

import aiohttp
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/socket/websocket"


def connect(service, token, **options):
    return service.session.ws_connect(f"{PATH}?vsn=2.0.0&token={token}", **options)


async def push(ws, *frame):
    await ws.send_str(json.dumps(frame))


async def receive(ws):
    return json.loads(await ws.receive_str(timeout=10))


async def join(ws, topic, join_ref="1"):
    await push(ws, join_ref, join_ref, topic, "phx_join", {})
    assert await receive(ws) == [join_ref, join_ref, topic, "phx_reply", {"status": "ok", "response": {}}]


async def closed(ws):
    while True:
        message = await ws.receive(timeout=10)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            return ws.close_code


async def test_both_sides_of_a_transfer_hear_of_it(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    async with connect(service, ann.token) as first, connect(service, ben.token) as second:
        await join(first, f"transaction:{ann.id}")
        await join(second, f"transaction:{ben.id}", "5")
        _, answer, _ = await service.transfer(ann, ben, 5, fields={"description": "lunch"})
        for ws, user in ((first, ann), (second, ben)):
            expected = [None, None, f"transaction:{user.id}", "new_transaction", answer["data"]]
            assert await receive(ws) == expected


async def test_every_reader_of_a_topic_gets_every_event_in_order(service):
    ann, ben, admin = await service.register(), await service.register(), await service.admin()
    await service.fund(ann, 100)
    sockets = [await connect(service, token) for token in (ann.token, ann.token, admin.token)]
    for ws in sockets:
        await join(ws, f"transaction:{ann.id}")
    for amount in range(1, 6):
        await service.transfer(ann, ben, amount)
    for ws in sockets:
        assert [(await receive(ws))[4]["amount"] for _ in range(5)] == [1, 2, 3, 4, 5]
        await ws.close()


async def test_events_go_on_after_the_notifier_was_killed_and_none_is_missing(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    async with connect(service, ann.token) as ws:
        await join(ws, f"transaction:{ann.id}")
        await service.transfer(ann, ben, 1)
        assert (await receive(ws))[4]["amount"] == 1
        killing = asyncio.create_task(service.kill("notifier"))
        for amount in range(2, 10):
            await service.transfer(ann, ben, amount)
        await killing
        await service.transfer(ann, ben, 10)
        assert [(await receive(ws))[4]["amount"] for _ in range(9)] == list(range(2, 11))


async def test_heartbeat_leave_and_rejoin(service):
    ann = await service.register()
    topic = f"transaction:{ann.id}"
    async with connect(service, ann.token) as ws:
        await push(ws, None, "7", "phoenix", "heartbeat", {})
        assert await receive(ws) == [None, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}]
        await join(ws, topic)
        await push(ws, "1", "2", topic, "phx_leave", {})
        assert await receive(ws) == ["1", "2", topic, "phx_reply", {"status": "ok", "response": {}}]
        assert await receive(ws) == ["1", "1", topic, "phx_close", {}]
        await join(ws, topic, "3")
        await join(ws, topic, "4")
        assert await receive(ws) == ["3", "3", topic, "phx_close", {}]


async def test_another_users_topic_is_refused(service):
    ann, ben = await service.register(), await service.register()
    async with connect(service, ann.token) as ws:
        topic = f"transaction:{ben.id}"
        await push(ws, "1", "1", topic, "phx_join", {})
        reply = {"status": "error", "response": {"reason": "unauthorized"}}
        assert await receive(ws) == ["1", "1", topic, "phx_reply", reply]


async def test_the_token_may_come_in_the_protocol_or_the_authorization_header(service):
    ann = await service.register()
    path = f"{PATH}?vsn=2.0.0"
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = alphabet(ann.token.encode()).decode().rstrip("=")
        protocols = ("phoenix", f"base64url.bearer.phx.{encoded}")
        async with service.session.ws_connect(path, protocols=protocols) as ws:
            assert ws.protocol == "phoenix"
            await join(ws, f"transaction:{ann.id}")
    async with service.session.ws_connect(path, headers=ann.headers) as ws:
        await join(ws, f"transaction:{ann.id}")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("vsn=2.0.0", {}),
        ("vsn=2.0.0&token=x", {}),
        ("vsn=3.0.0&token={token}", {}),
        ("vsn=2.0.1&token={token}", {}),
        ("vsn=1.0.0", {}),
        ("vsn=2.0.0&token={token}", {"Origin": "https://evil.example.com"}),
        ("vsn=2.0.0&token={token}", {"Origin": "null"}),
    ],
)
async def test_a_connection_is_refused_before_the_upgrade(service, query, headers):
    ann = await service.register()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await service.session.ws_connect(f"{PATH}?{query.format(token=ann.token)}", headers=headers)
    assert caught.value.status == 403


async def test_a_page_of_the_same_host_may_connect(service):
    ann = await service.register()
    async with connect(service, ann.token, headers={"Origin": f"http://127.0.0.1:{service.port}"}) as ws:
        await join(ws, f"transaction:{ann.id}")


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda ws: ws.send_str("x"), 1007),
        (lambda ws: ws.send_str("[]"), 1007),
        (lambda ws: ws.send_str("[" * 60_000), 1007),
        (lambda ws: ws.send_str("x" * 70_000), 1009),
        (lambda ws: ws.send_bytes(b"x"), 1007),
        (lambda ws: ws.send_frame(b"\xff", aiohttp.WSMsgType.TEXT), 1007),
    ],
)
async def test_what_is_no_frame_closes_the_socket(service, send, code):
    ann = await service.register()
    async with connect(service, ann.token) as ws:
        await send(ws)
        assert await closed(ws) == code


async def test_version_1_is_served_when_the_client_says_so_or_says_nothing(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100)
    topic = f"transaction:{ann.id}"
    for query in ("vsn=1.0.0&", ""):
        async with service.session.ws_connect(f"{PATH}?{query}token={ann.token}") as ws:
            await ws.send_str(json.dumps({"topic": topic, "event": "phx_join", "payload": {}, "ref": "1"}))
            ok = {"status": "ok", "response": {}}
            assert await receive(ws) == {"topic": topic, "event": "phx_reply", "payload": ok, "ref": "1"}
            _, answer, _ = await service.transfer(ann, ben, 5)
            news = {"topic": topic, "event": "new_transaction", "payload": answer["data"], "ref": None}
            assert await receive(ws) == news
            await ws.send_bytes(b"x")
            assert await closed(ws) == 1003


async def test_a_binary_push_is_read(service):
    ann = await service.register()
    topic = f"transaction:{ann.id}"
    async with connect(service, ann.token) as ws:
        await join(ws, topic)
        await ws.send_bytes(b"\x00\x01\x01" + bytes((len(topic), 4)) + b"12" + topic.encode() + b"work\xff")
        reply = {"status": "error", "response": {"reason": "unmatched event"}}
        assert await receive(ws) == ["1", "2", topic, "phx_reply", reply]


async def test_a_plain_request_to_the_socket_is_refused(service):
    ann = await service.register()
    status, answer, _ = await service.call("GET", f"{PATH}?vsn=2.0.0&token={ann.token}")
    assert (status, answer["code"]) == (400, "bad_request")
