from __future__ import annotations

import asyncio
import gzip
import json
import re

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGIN = "/api/v1/auth/login"


def assert_problem(answer, headers, status, code):
    assert headers["Content-Type"] == "application/problem+json"
    assert (answer["status"], answer["code"]) == (status, code)
    assert answer["request_id"] == headers["X-Request-Id"]
    assert {"type", "title", "detail", "instance"} <= answer.keys()


async def exchange(service, request):
    """The head of the answer to these bytes, by lines, and its body; then the connection must be at its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(request)
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize(
    "request_",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a port that speaks none
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=range(10),
)
async def test_what_is_no_http_request_is_refused_as_all_others_are(service, request_):
    status, headers, body = await exchange(service, request_)
    answer = json.loads(body)
    assert_problem(answer, headers, 400, "bad_request")
    assert status == 400
    assert headers["Server"] == "bitnexus"
    assert [line for line in service.running.log_lines() if "Error handling request" in line] == []


async def test_a_good_request_before_garbage_is_answered(service):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"200" in await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"garbage\r\n\r\n")
        assert b" 400 " in await reader.read()
    writer.close()


async def test_a_body_in_broken_chunks_is_a_bad_request(service):
    head = f"POST {LOGIN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, headers, body = await exchange(service, head.encode() + b"zz\r\n{}\r\n")
    assert status == 400
    assert_problem(json.loads(body), headers, 400, "bad_request")


async def test_an_unknown_route_is_not_found(service):
    status, answer, headers = await service.call("GET", "/api/v1/nothing?x=1")
    assert status == 404
    assert_problem(answer, headers, 404, "not_found")
    assert answer["instance"] == "/api/v1/nothing"


async def test_a_wrong_method_is_told_the_right_ones(service):
    status, answer, headers = await service.call("DELETE", LOGIN)
    assert status == 405
    assert_problem(answer, headers, 405, "method_not_allowed")
    assert headers["Allow"] == "POST"
    status, _, headers = await service.call("POST", "/health")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def test_another_media_type_is_refused(service):
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
        status, answer, got = await service.call("POST", LOGIN, data=b"{}", headers=headers)
        assert status == 415
        assert_problem(answer, got, 415, "unsupported_media_type")


async def test_parameters_of_the_media_type_do_not_matter(service):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    status, _, _ = await service.call("POST", LOGIN, data=b"{}", headers=headers)
    assert status == 422


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_refused(service, chunked):
    body = b'{"user": "' + b"x" * 70_000 + b'"}'

    async def chunks():
        yield body

    options = {"data": chunks() if chunked else body, "headers": {"Content-Type": "application/json"}}
    status, answer, headers = await service.call("POST", LOGIN, **options)
    assert status == 413
    assert_problem(answer, headers, 413, "payload_too_large")


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b" " * 1_000_000)])
async def test_a_compressed_body_is_refused_unread(service, body):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, answer, got = await service.call("POST", LOGIN, data=body, headers=headers)
    assert status == 415
    assert_problem(answer, got, 415, "unsupported_media_type")


async def test_a_client_that_leaves_amid_its_body_is_no_failure_of_the_service(service):
    async def bad_requests():
        async with service.session.get("/metrics") as response:
            text = await response.text()
        found = re.findall(rf'bitnexus_http_requests_total{{.*route="{LOGIN}",status="(.*)"}} (.*)', text)
        assert not [status for status, _ in found if status == "500"], found
        return sum(float(count) for status, count in found if status == "400")

    before = await bad_requests()
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"POST {LOGIN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n"
    writer.write(head.encode() + b'{"user":')
    await writer.drain()
    writer.close()
    async with asyncio.timeout(10):
        while await bad_requests() == before:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1,"a":2}', b"\xff", b"NaN", b"[" * 50_000])
async def test_malformed_json_is_refused(service, body):
    headers = {"Content-Type": "application/json"}
    status, answer, got = await service.call("POST", LOGIN, data=body, headers=headers)
    assert status == 400
    assert_problem(answer, got, 400, "bad_request")


async def test_broken_rules_are_named_by_field(service):
    body = {"user": {"email": "a@b.cd", "password": 5, "role": "admin"}}
    status, answer, headers = await service.call("POST", LOGIN, json=body)
    assert status == 422
    assert_problem(answer, headers, 422, "invalid_fields")
    assert set(answer["errors"]) == {"password", "role"}
    assert {item["pointer"] for item in answer["pointers"]} == {"#/user/password", "#/user/role"}


async def test_every_answer_has_an_id_and_the_static_headers(service):
    for path in ("/health", "/api/v1/nothing"):
        _, _, headers = await service.call("GET", path, headers={"X-Request-Id": "mine-1"})
        assert headers["X-Request-Id"] == "mine-1"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"] == "bitnexus"
    assert [line for line in service.running.log_lines() if "Error handling request" in line] == []


async def test_an_id_that_would_break_a_log_line_is_replaced(service):
    _, _, headers = await service.call("GET", "/health/live", headers={"X-Request-Id": "a b{}"})
    assert "a b" not in headers["X-Request-Id"]


async def test_the_trace_id_of_a_traceparent_is_the_requests_id(service):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    _, _, headers = await service.call(
        "GET", "/health/live", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )
    assert headers["X-Request-Id"] == trace


@pytest.mark.parametrize(
    "credentials", [None, "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer a.b.c", "bearer " + "x" * 5000]
)
async def test_without_a_valid_token_there_is_nothing(service, credentials):
    headers = {"Authorization": credentials} if credentials else {}
    for path in ("/api/v1/users/me", "/api/v1/accounts", "/api/v1/transactions"):
        status, answer, got = await service.call("GET", path, headers=headers)
        assert status == 401
        assert_problem(answer, got, 401, "unauthorized")
        assert got["WWW-Authenticate"].startswith("Bearer")
