"""What a connection keeps of the request that became a socket: nothing that is large and that nobody asks for again."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import web

from bitnexus.http.connections import Refusals, Runner
from bitnexus.http.correlation import RequestIds
from bitnexus.http.fast_path import FastPath
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.traffic import Traffic

PATIENCE_S = 10.0


@contextlib.asynccontextmanager
async def served(handler):
    """The address of a server that has this handler alone."""
    app = web.Application()
    app.router.add_get("/", handler)
    ids, metrics = RequestIds(), RequestMetrics()
    fast = FastPath({}, lambda _: None, ids, metrics, Traffic())
    runner = Runner(app, Refusals(ids, metrics), fast, most=10, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_a_socket_keeps_neither_the_headers_nor_the_parser_and_works() -> None:
    seen = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        before = request.headers["X-Told"]
        await websocket.prepare(request)
        seen.append((before, len(request.headers), request.raw_headers, request.protocol._parser))
        async for message in websocket:
            await websocket.send_str(message.data)
        return websocket

    async with (
        asyncio.timeout(PATIENCE_S),
        served(handle) as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers={"X-Told": "before"}) as websocket,
    ):
        for text in ("one", "two"):
            await websocket.send_str(text)
            assert await websocket.receive_str() == text
    assert seen == [("before", 0, (), None)]


async def test_a_refused_upgrade_has_its_headers_and_what_comes_next_is_understood() -> None:
    told = []

    async def handle(request: web.Request) -> web.Response:
        told.append(request.headers.get("X-Told"))
        return web.Response(status=403)

    async with served(handle) as url, aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_S):
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "X-Told": "first"}
        for headers in (upgrade, {"X-Told": "second"}):
            async with session.get(url, headers=headers) as response:
                assert response.status == 403
                await response.read()
    assert told == ["first", "second"]
