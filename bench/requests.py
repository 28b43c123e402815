"""Requests as they go over the wire, ready but for their key, and the file that carries them to a load generator.

A generator takes them in random order. One that changes something carries an Idempotency-Key, which must be another one
each time: it goes between `before` and `after`. So every contestant gets the same requests from either generator, and
making them costs the generators nothing.

The file: for each request a line of three numbers (1 if it has a key, the lengths of the parts), then both parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """A request; without a key it is all in `before`."""

    before: bytes
    after: bytes = b""
    keyed: bool = False


def post(path: str, token: str, body: bytes) -> Request:
    """A POST of JSON under a key."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nIdempotency-Key: "
    )
    return Request(head.encode(), b"\r\n\r\n" + body, keyed=True)


def get(path: str, token: str) -> Request:
    """A GET."""
    return Request(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())


def write(path: Path, requests: Iterable[Request]) -> None:
    """Make the file."""
    with path.open("wb") as file:
        for request in requests:
            file.write(b"%d %d %d\n" % (request.keyed, len(request.before), len(request.after)))
            file.write(request.before + request.after)


def read(path: Path) -> list[Request]:
    """What is in the file."""
    found = []
    with path.open("rb") as file:
        while line := file.readline():
            keyed, before, after = map(int, line.split())
            found.append(Request(file.read(before), file.read(after), bool(keyed)))
    return found
