"""The pass-through to a real old service: a server in this process, which tells what reached it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from bitnexus.http.legacy.gateway import MOST_AT_ONCE
from tests.running import free_port
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTED = (
    "POST /api/v1/transactions, POST /api/v1/products, /api/v1/reports/*, GET /api/v1/accounts/{id}/statement, "
    "GET /api/v1/users/me"
)
TIMEOUT_S = 1.5
BIG = 8 * 1024 * 1024
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class OldService:
    """Answers everything below /functions, and keeps what it was asked."""

    def __init__(self):
        self.port = free_port()
        self.seen = []
        self.cut_off = asyncio.Event()

    async def start(self):
        app = web.Application(client_max_size=2 * BIG)
        app.router.add_route("*", "/functions/api/v1/silent", self.silent)
        app.router.add_route("*", "/functions/api/v1/broken", self.broken)
        app.router.add_route("*", "/functions/api/v1/abrupt", self.abrupt)
        app.router.add_route("*", "/functions/api/v1/endless", self.endless)
        app.router.add_route("*", "/functions/api/v1/moved", self.moved)
        app.router.add_route("*", "/functions/api/v1/big", self.big)
        app.router.add_route("*", "/functions/api/v1/nothing", self.nothing)
        app.router.add_route("*", "/functions/{rest:.*}", self.echo)
        self.runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()

    async def echo(self, request):
        digest = hashlib.sha1(await request.read()).hexdigest()
        self.seen.append(request)
        answer = {
            "old": True,
            "method": request.method,
            "path": request.raw_path,
            "sha": digest,
        }
        response = web.json_response(answer, status=201 if request.method == "POST" else 200)
        response.headers.extend([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Keep-Alive", "timeout=5")])
        response.headers["ETag"] = '"old"'
        return response

    async def nothing(self, request):
        self.seen.append(request)
        return web.Response(status=404)

    async def silent(self, request):
        await asyncio.sleep(10 * TIMEOUT_S)
        return web.Response()

    async def broken(self, request):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        request.transport.abort()
        return response

    async def abrupt(self, request):
        self.seen.append(request)
        request.transport.abort()
        return web.Response()

    async def endless(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"tick\n")
                await asyncio.sleep(0.01)
        except ConnectionError:
            self.cut_off.set()
        return response

    async def moved(self, request):
        self.seen.append(request)
        where = f"http://127.0.0.1:{self.port}/functions/api/v1/elsewhere?x=1"
        return web.Response(status=302, headers={"Location": request.query.get("to", where)})

    async def big(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(BIG // 65536):
            await response.write(b"\x07" * 65536)
        return response


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def old():
    server = OldService()
    await server.start()
    yield server
    await server.runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def front(old, database_url, tmp_path_factory):
    running = await Service.start(
        database_url,
        tmp_path_factory.mktemp("front"),
        LEGACY_API_URL=f"http://127.0.0.1:{old.port}/functions/",
        LEGACY_ROUTES=LISTED,
        LEGACY_TIMEOUT_S=str(TIMEOUT_S),
        BITNEXUS_FRONTS="1",
        BITNEXUS_PARTITIONS="1",
    )
    yield running
    assert await running.stop() == 0


async def raw(service, text):
    """Status and body of what a hand-made request is answered with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(text.replace("\n", "\r\n").encode("latin-1"))
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r")[0]))
    writer.close()
    await writer.wait_closed()
    return int(head.split(" ")[1]), body


async def get(service, target):
    return await raw(service, f"GET {target} HTTP/1.1\nHost: localhost\nConnection: close\n\n")


async def metrics(service):
    async with service.session.get("/metrics") as response:
        return [line for line in (await response.text()).splitlines() if "bitnexus_legacy_" in line]


async def test_a_route_that_this_service_does_not_have_is_passed_on_whole(front, old):
    body = b"\x00\xff" * 50_000
    headers = {
        "X-Request-Id": "req-7",
        "traceparent": TRACE,
        "Authorization": "Bearer of-the-old-one",
        "Cookie": "session=1",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=6.6.6.6",
        "Content-Type": "application/octet-stream",
        "Connection": "keep-alive, X-Mine",
        "X-Mine": "of this hop",
        "TE": "trailers",
    }
    target = "/api/v1/orders/7?b=2&a=%20x"
    async with front.session.put(target, data=body, headers=headers) as response:
        answer = await response.json()
        assert response.status == 200
        assert answer == {
            "old": True,
            "method": "PUT",
            "path": "/functions/api/v1/orders/7?b=2&a=%20x",
            "sha": hashlib.sha1(body).hexdigest(),
        }
        assert response.headers["X-Request-Id"] == "req-7"
        assert response.headers["ETag"] == '"old"'
        assert response.headers["Via"].endswith("1.1 bitnexus")
        assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert "Keep-Alive" not in response.headers
    sent = old.seen[-1].headers
    assert (sent["X-Request-Id"], sent["traceparent"]) == ("req-7", TRACE)
    assert (sent["Authorization"], sent["Cookie"]) == ("Bearer of-the-old-one", "session=1")
    assert (sent["X-Forwarded-For"], sent["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert sent["X-Forwarded-Host"] == f"127.0.0.1:{front.port}"
    assert sent["Host"] == f"127.0.0.1:{old.port}"
    assert sent["Content-Length"] == str(len(body))
    assert {"X-Mine", "TE", "Forwarded", "User-Agent"} & set(sent) == {"User-Agent"}


async def test_listed_routes_go_to_the_old_service_and_all_others_of_this_one_stay(front, old):
    user = await front.register()
    status, answer, _ = await front.call("POST", "/api/v1/products", user=user, json={"product": {}})
    assert (status, answer["old"]) == (201, True)
    status, answer, _ = await front.call("GET", "/api/v1/users/me", user=user)
    assert (status, answer["old"]) == (200, True)  # a path that is answered without the router
    status, answer, _ = await front.transfer(user, user, 1)
    assert (status, answer["old"]) == (201, True)  # and one that is answered without even that
    status, answer, _ = await front.call("GET", f"/api/v1/accounts/{user.account_id}/statement", user=user)
    assert (status, answer["old"]) == (200, True)
    status, answer, _ = await front.call("GET", "/api/v1/reports/2026/11", user=user)
    assert answer["path"] == "/functions/api/v1/reports/2026/11"
    status, answer, _ = await front.call("GET", "/api/v1/products", user=user)
    assert (status, "data" in answer) == (200, True)
    status, answer, _ = await front.call("GET", f"/api/v1/accounts/{user.account_id}", user=user)
    assert answer["data"]["id"] == user.account_id
    status, answer, _ = await front.call("GET", "/api/v1/accounts/nobody", user=user)
    assert (status, answer["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/transactions/",
        "/API/V1/Transactions",
        "/api/v1/transactions/0b2c7b0e-0000-4000-8000-000000000000/",
    ],
)
async def test_what_this_service_has_is_not_reached_at_the_old_one_by_another_spelling(front, old, target):
    before = len(old.seen)
    status, body = await get(front, target)
    assert (status, json.loads(body)["code"]) == (404, "not_found")
    assert len(old.seen) == before


async def test_another_method_of_an_own_path_is_refused_here(front, old):
    before = len(old.seen)
    status, answer, headers = await front.call("DELETE", "/api/v1/accounts")
    assert (status, answer["code"], headers["Allow"]) == (405, "method_not_allowed", "GET, HEAD, POST")
    assert len(old.seen) == before


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/../../secret",
        "/api/v1/%2e%2e/%2E%2E/secret",
        "/api/v1/x/..%2f..%2fsecret",
        "/api/v1/.%2e/secret",
        "/api/v1/x/%5c..%5csecret",
        "//evil.example/x",
        "/api//v1/x",
        "/x%00y",
        "/x%0d%0aInjected:%201",
        "/\\evil.example",
    ],
)
async def test_a_path_that_two_services_could_read_differently_is_refused(front, old, target):
    before = len(old.seen)
    status, _ = await get(front, target)
    assert status in {400, 404}
    assert len(old.seen) == before


@pytest.mark.parametrize("target", ["http://evil.example/api/v1/x", "http://evil.example:81/api/v1/x?y"])
async def test_an_absolute_address_leads_to_the_old_service_and_nowhere_else(front, old, target):
    status, body = await get(front, target)
    assert (status, json.loads(body)["path"].partition("?")[0]) == (200, "/functions/api/v1/x")
    assert old.seen[-1].headers["Host"] == f"127.0.0.1:{old.port}"


async def test_a_redirect_is_passed_back_and_not_followed_and_does_not_show_the_inner_address(front, old):
    before = len(old.seen)
    async with front.session.get("/api/v1/moved", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/api/v1/elsewhere?x=1")
    async with front.session.get(
        "/api/v1/moved", params={"to": "https://other.example/x"}, allow_redirects=False
    ) as response:
        assert response.headers["Location"] == "https://other.example/x"
    assert len(old.seen) == before + 2


async def test_large_answers_and_bodies_pass_in_pieces(front):
    async def pieces():
        for _ in range(BIG // 65536):
            yield b"\x05" * 65536

    async with front.session.get("/api/v1/big") as response:
        assert hashlib.sha1(await response.read()).hexdigest() == hashlib.sha1(b"\x07" * BIG).hexdigest()
    async with front.session.post("/api/v1/upload", data=pieces()) as response:
        assert (await response.json())["sha"] == hashlib.sha1(b"\x05" * BIG).hexdigest()


async def test_an_answer_comes_as_it_is_made_and_a_client_that_leaves_ends_it(front, old):
    old.cut_off.clear()
    async with front.session.get("/api/v1/endless") as response:
        assert await asyncio.wait_for(response.content.readexactly(5), 5) == b"tick\n"
        response.close()
    await asyncio.wait_for(old.cut_off.wait(), 5)


async def test_a_silent_old_service_is_a_504_problem(front):
    started = time.monotonic()
    status, answer, headers = await front.call("GET", "/api/v1/silent", headers={"X-Request-Id": "slow-1"})
    assert (status, answer["code"], answer["request_id"]) == (504, "legacy_timeout", "slow-1")
    assert headers["Content-Type"] == "application/problem+json"
    assert TIMEOUT_S <= time.monotonic() - started < 8 * TIMEOUT_S


async def test_more_requests_than_a_front_may_have_there_are_refused_before_any_effect(front):
    more = 100
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{front.port}", connector=connector) as session:

        async def ask():
            async with session.get("/api/v1/silent") as response:
                return (await response.json(content_type=None))["code"]

        codes = Counter(await asyncio.gather(*(ask() for _ in range(MOST_AT_ONCE + more))))
    # On a slow machine the first have come back before the last arrive.
    assert set(codes) == {"legacy_timeout", "overloaded"}
    assert codes["overloaded"] <= more


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "POST"])
async def test_what_the_old_service_leaves_without_an_answer_is_not_asked_again(front, old, method):
    before = len(old.seen)
    status, answer, _ = await front.call(method, "/api/v1/abrupt", json={"a": 1} if method == "PUT" else None)
    assert (status, answer["code"]) == (502, "legacy_unavailable")
    assert len(old.seen) == before + 1


async def test_an_answer_that_breaks_off_does_not_look_whole(front):
    with pytest.raises(aiohttp.ClientPayloadError):
        async with front.session.get("/api/v1/broken") as response:
            await response.read()


async def test_a_body_beyond_the_bound_is_refused_before_anybody_is_asked(front, old):
    before = len(old.seen)
    status, body = await raw(
        front, "POST /api/v1/orders HTTP/1.1\nHost: x\nContent-Length: 99999999999\nConnection: close\n\n"
    )
    assert (status, json.loads(body)["code"]) == (413, "payload_too_large")
    assert len(old.seen) == before


async def test_a_body_that_breaks_off_reaches_nobody_as_a_whole(front, old):
    before = len(old.seen)
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await front.call("GET", "/api/v1/orders")  # whatever came of it has been seen to by then
    assert [request.method for request in old.seen[before:]] == ["GET"]


async def test_a_client_that_waits_for_leave_to_send_gets_it(front):
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    head = "POST /api/v1/reports/new HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 201")
    writer.close()
    await writer.wait_closed()


async def test_a_request_that_this_service_has_passed_on_already_is_refused(front, old):
    before = len(old.seen)
    status, answer, _ = await front.call("GET", "/api/v1/orders", headers={"Via": "1.1 proxy, 1.1 bitnexus"})
    assert (status, answer["code"]) == (400, "bad_request")
    assert len(old.seen) == before


async def test_each_route_is_counted_by_name_and_strangers_cannot_invent_names(front):
    for number in range(3):
        await front.call("GET", f"/api/v1/invoices/{number}/lines")
        await front.call("GET", "/api/v1/nothing")
    lines = await metrics(front)
    wanted = 'bitnexus_legacy_requests_total{process="http-0",method="GET",route="%s",status="%s"} 3.0'
    assert wanted % ("/api/v1/invoices/{id}/lines", "2xx") in lines
    assert wanted % ("unmatched", "4xx") in lines
    last = 'bitnexus_legacy_last_request_timestamp_seconds{process="http-0",route="%s"}'
    at = float(next(line for line in lines if line.startswith(last % "/api/v1/invoices/{id}/lines")).split(" ")[1])
    assert time.time() - 60 < at <= time.time()
    assert any(line.startswith(last % "/api/v1/reports/*") for line in lines)
    assert 'bitnexus_legacy_requests_under_way{process="http-0"} 0.0' in lines


async def test_an_old_service_that_is_away_is_a_502_problem_and_this_one_goes_on(front, old):
    await old.runner.cleanup()
    try:
        for _ in range(2):
            status, answer, _ = await front.call("POST", "/api/v1/orders", json={"a": 1})
            assert (status, answer["code"]) == (502, "legacy_unavailable")
        assert (await front.call("GET", "/health"))[0] == 200
        of_route = 'process="http-0",method="POST",route="/api/v1/products",status="failed"'
        assert (await front.call("POST", "/api/v1/products"))[0] == 502
        assert f"bitnexus_legacy_requests_total{{{of_route}}} 1.0" in await metrics(front)
        log = "\n".join(front.running.log_lines())
        assert "legacy_unavailable" in log
        assert "of-the-old-one" not in log
    finally:
        await old.start()
