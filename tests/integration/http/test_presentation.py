from __future__ import annotations

import gzip
import uuid

import aiohttp
import orjson
import pytest
import pytest_asyncio

from bitnexus.http.presentation import COMPRESSED_FROM_BYTES
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

APP, FOREIGN = "https://app.example.com", "https://app.example.com.evil.example"
ACCOUNTS, ME = "/api/v1/accounts", "/api/v1/users/me"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_to_app(database_url, tmp_path_factory):
    """A service that pages of one other site may use, without pages of its own."""
    directory = tmp_path_factory.mktemp("open_to_app")
    settings = {"BITNEXUS_FRONTS": "1", "BITNEXUS_CORS_ORIGINS": APP, "BITNEXUS_DOCS": "false"}
    running = await Service.start(database_url, directory, **settings)
    yield running
    assert await running.stop() == 0


def preflight(origin, method="POST"):
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }


async def raw(service, path, headers, method="GET"):
    """Status, headers and the body's bytes as they came."""
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{service.port}", auto_decompress=False) as session,
        session.request(method, path, headers=headers) as response,
    ):
        return response.status, response.headers, await response.read()


async def test_a_page_of_an_allowed_site_may_ask_and_read_answers_and_errors(open_to_app):
    user = await open_to_app.register()
    for path in (ACCOUNTS, f"/api/v1/users/{user.id}"):
        status, _, headers = await open_to_app.call("OPTIONS", path, headers=preflight(APP))
        assert status == 204
        assert headers["Access-Control-Allow-Origin"] == APP
        assert "PATCH" in headers["Access-Control-Allow-Methods"]
        assert headers["X-Request-Id"]
    for token, expected in ((user.headers, 200), ({}, 401)):
        status, _, headers = await open_to_app.call("GET", ME, headers={"Origin": APP, **token})
        assert status == expected
        assert headers["Access-Control-Allow-Origin"] == APP
        assert "ETag" in headers["Access-Control-Expose-Headers"]
        assert headers["Vary"] == "Origin"


async def test_a_page_of_any_other_site_may_not(open_to_app, service):
    user = await open_to_app.register()
    for running, origin in ((open_to_app, FOREIGN), (open_to_app, "null"), (service, APP)):
        status, _, headers = await running.call("OPTIONS", ACCOUNTS, headers=preflight(origin))
        assert status == 405
        assert "Access-Control-Allow-Origin" not in headers
        _, _, headers = await running.call("GET", ME, headers={"Origin": origin, **user.headers})
        assert "Access-Control-Allow-Origin" not in headers


async def test_a_page_of_an_allowed_site_may_open_a_socket_and_no_other(open_to_app):
    user = await open_to_app.register()
    address = f"/socket/websocket?vsn=2.0.0&token={user.token}"
    async with open_to_app.session.ws_connect(address, headers={"Origin": APP}) as socket:
        assert not socket.closed
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await open_to_app.session.ws_connect(address, headers={"Origin": FOREIGN})


async def test_large_answers_are_compressed_for_who_takes_that_and_small_ones_are_not(service):
    user = await service.register()
    for _ in range(12):
        status, _, _ = await service.call("POST", ACCOUNTS, user=user, json={"account": {"id": str(uuid.uuid4())}})
        assert status == 201
    status, headers, plain = await raw(service, ACCOUNTS, {**user.headers, "Accept-Encoding": "identity"})
    assert (status, headers.get("Content-Encoding"), headers["Vary"]) == (200, None, "Accept-Encoding")
    assert len(plain) >= COMPRESSED_FROM_BYTES
    status, headers, packed = await raw(service, ACCOUNTS, {**user.headers, "Accept-Encoding": "gzip"})
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert int(headers["Content-Length"]) == len(packed) < len(plain) / 3
    assert orjson.loads(gzip.decompress(packed))["data"] == orjson.loads(plain)["data"]
    _, headers, body = await raw(service, ACCOUNTS, {**user.headers, "Accept-Encoding": "gzip"}, method="HEAD")
    assert (headers["Content-Encoding"], body) == ("gzip", b"")
    _, headers, _ = await raw(service, ME, {**user.headers, "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in headers


async def test_the_pages_about_the_api_can_be_turned_off(open_to_app, service):
    for path in ("/docs", "/docs/errors", "/docs/assets/errors.css", "/api/openapi.json"):
        assert (await open_to_app.call("GET", path))[0] == 404
    status, headers, body = await raw(service, "/docs", {})
    assert (status, headers["Content-Type"], headers["X-Frame-Options"]) == (200, "text/html; charset=utf-8", "DENY")
    assert b"http://" not in body
    assert b"https://" not in body
