"""Requests that two readers of HTTP could take for different ones: refused, and the connection is over.

Whatever a proxy in front may have made of such bytes, nothing behind them is taken for a request.
"""

from __future__ import annotations

import asyncio
import json
import re

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: What an attacker would have the service take for a second request.
HIDDEN = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
LIVE = b'{"status":"live"}'
POST = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


def chunked(*chunks: bytes, name: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    return POST + name + b"\r\n" + b"".join(chunks)


REFUSED = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + HIDDEN,
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}" + HIDDEN,
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}" + HIDDEN,
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}" + HIDDEN,
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}" + HIDDEN,
    "a length with an underscore": POST + b"Content-Length: 0_2\r\n\r\n{}" + HIDDEN,
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551618\r\n\r\n{}" + HIDDEN,
    "a space before the colon": chunked(b"0\r\n\r\n", HIDDEN, name=b"Transfer-Encoding : chunked\r\n"),
    "a folded header": chunked(b"0\r\n\r\n", HIDDEN, name=b"X: a\r\n Transfer-Encoding: chunked\r\n"),
    "a folded encoding": chunked(b"0\r\n\r\n", HIDDEN, name=b"Transfer-Encoding:\r\n chunked\r\n"),
    "an unknown encoding": chunked(b"0\r\n\r\n", HIDDEN, name=b"Transfer-Encoding: xchunked\r\n"),
    "chunked, but not last": chunked(b"0\r\n\r\n", HIDDEN, name=b"Transfer-Encoding: chunked, identity\r\n"),
    "chunked twice": chunked(
        b"0\r\n\r\n", HIDDEN, name=b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"
    ),
    "an encoding behind a control character": chunked(b"0\r\n\r\n", HIDDEN, name=b"Transfer-Encoding: \x0bchunked\r\n"),
    "bare line feeds": POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}" + HIDDEN,
    "one bare line feed": POST + b"X: a\nContent-Length: 2\r\n\r\n{}" + HIDDEN,
    "a bare carriage return": POST + b"X: a\rContent-Length: 2\r\n\r\n{}" + HIDDEN,
    "a null byte in a header": POST + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}" + HIDDEN,
    "no name": POST + b": a\r\nContent-Length: 2\r\n\r\n{}" + HIDDEN,
    "a line without colon": POST + b"X\r\nContent-Length: 2\r\n\r\n{}" + HIDDEN,
    "two hosts": b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a size in another form": chunked(b"0x2\r\n{}\r\n0\r\n\r\n", HIDDEN),
    "a size with a sign": chunked(b"+2\r\n{}\r\n0\r\n\r\n", HIDDEN),
    "a size beyond 64 bits": chunked(b"10000000000000002\r\n{}\r\n0\r\n\r\n", HIDDEN),
    "no size": chunked(b"\r\n{}\r\n0\r\n\r\n", HIDDEN),
    "a chunk longer than its size": chunked(b"2\r\n{}}\r\n0\r\n\r\n", HIDDEN),
    "a size that ends with a line feed": chunked(b"2\n{}\r\n0\r\n\r\n", HIDDEN),
    "an extension that ends with a line feed": chunked(b"2;a\n{}\r\n0\r\n\r\n", HIDDEN),
    "a tab": b"GET\t/health/live HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the path": b"GET /health\x01/live HTTP/1.1\r\nHost: a\r\n\r\n",
}


async def answers(service, sent: bytes) -> tuple[list[bytes], bytes]:
    """The statuses of all answers to these bytes until the service closes, and all of them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(sent)
    try:
        async with asyncio.timeout(20):
            told = await reader.read()
    finally:
        writer.close()
    return re.findall(rb"HTTP/1\.[01] (\d{3}) ", told), told


@pytest.mark.parametrize("what", REFUSED)
async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_answered(service, what):
    statuses, told = await answers(service, REFUSED[what])
    assert statuses == [b"400"], told
    assert LIVE not in told
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


async def test_a_body_with_extensions_and_trailers_is_read_as_what_it_is(service):
    body = b'{"user":{"email":"nobody@example.com","password":"wrong"}}'
    chunks = b"%x;a=b\r\n%s\r\n0;last\r\nX-Trailer: a\r\n\r\n" % (len(body), body)
    after = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    statuses, told = await answers(service, chunked(chunks, after))
    assert statuses == [b"401", b"200"]
    assert b"invalid_credentials" in told
    assert told.endswith(LIVE)


async def test_a_body_where_none_is_expected_is_not_taken_for_the_next_request(service):
    head = b"GET /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(HIDDEN), HIDDEN)
    after = b"GET /health/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    statuses, told = await answers(service, head + after)
    assert (statuses, told.count(LIVE)) == ([b"200", b"200"], 1)
    assert told.endswith(b'{"status":"ready"}')
