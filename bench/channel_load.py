"""Clients of one topic in a process of their own: they connect, join, and note when each event has reached the last.

    python -m bench.channel_load --port 4000 --path /socket/websocket?vsn=2.0.0 --topic … --clients 1000

The token, if there is one, comes as the variable BENCH_TOKEN. Told to its parent, in JSON lines: ``joined``, with the
seconds from the first connection to the last answered join; then, when its input ends, ``heard``: for each event by
its number in the stream how many clients got it, and when the last one did (CLOCK_MONOTONIC, which all processes
share). A client does as little as it can, so that what is measured is the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from typing import cast

import uvloop

JOIN_TIMEOUT_S = 60.0
_MASK = bytes(4)  # of zeros: it leaves the payload as it is
_SHORT, _LONG = 126, 127
_TEXT, _CLOSE = 0x81, 0x88


class Heard:
    """Event number → how many clients got it, and when the last one did."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.last_at: list[float] = []
        self.first: list[str] = []  # the events as one client got them
        self.closed = 0

    def add(self, number: int, now: float) -> None:
        """One more client got this event."""
        if number == len(self.counts):
            self.counts.append(0)
            self.last_at.append(0.0)
        self.counts[number] += 1
        self.last_at[number] = now


class Client(asyncio.Protocol):
    """One connection: upgrades, joins, counts what comes after the answer."""

    def __init__(self, request: bytes, join: bytes, heard: Heard, joined: asyncio.Future[None], *, keeps: bool) -> None:
        self._request, self._join, self._heard, self._joined, self._keeps = request, join, heard, joined, keeps
        self._buffer = b""
        self._upgraded = False
        self._events = -1  # the first frame answers the join

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take whole frames off."""
        buffer = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, end, buffer = buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if b" 101 " not in head[:20]:
                self._fail(head.decode(errors="replace")[:200])
                return
            self._upgraded = True
            self._transport.write(self._join)
        at, size = 0, len(buffer)
        while size - at >= 2:  # noqa: PLR2004 - the smallest frame
            length, start = buffer[at + 1], at + 2
            if length == _SHORT:
                length, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == _LONG:
                length, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if size < start or size < start + length:
                break
            self._frame(buffer[at], buffer[start : start + length])
            at = start + length
        self._buffer = buffer[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind != _TEXT:
            self._fail(f"a frame {kind:#x}: {payload!r}")
        elif self._events < 0:
            if b'"status":"ok"' not in payload:
                self._fail(payload.decode())
                return
            self._events = 0
            if not self._joined.done():
                self._joined.set_result(None)
        else:
            self._heard.add(self._events, time.monotonic())
            self._events += 1
            if self._keeps:
                self._heard.first.append(payload.decode())

    def _fail(self, why: str) -> None:
        if not self._joined.done():
            self._joined.set_exception(RuntimeError(why))
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody should be lost before the end."""
        self._heard.closed += 1
        if not self._joined.done():
            self._joined.set_exception(error or RuntimeError("closed before the join was answered"))


async def run(options: argparse.Namespace, token: str) -> None:
    """Connect all, tell; wait for the end of input, tell."""
    loop = asyncio.get_running_loop()
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    request = (
        f"GET {options.path} HTTP/1.1\r\nHost: 127.0.0.1:{options.port}\r\nUpgrade: websocket\r\n{authorization}"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    text = json.dumps(["1", "1", options.topic, "phx_join", {}], separators=(",", ":")).encode()
    assert len(text) < _SHORT
    join = bytes((_TEXT, 0x80 | len(text))) + _MASK + text
    heard, slots = Heard(), asyncio.Semaphore(options.at_once)

    async def one(number: int) -> None:
        async with slots:
            joined: asyncio.Future[None] = loop.create_future()
            client = Client(request, join, heard, joined, keeps=number == 0)
            await loop.create_connection(lambda: client, "127.0.0.1", options.port)
            await joined

    started_at = time.monotonic()
    async with asyncio.timeout(JOIN_TIMEOUT_S):
        await asyncio.gather(*(one(number) for number in range(options.clients)))
    print(json.dumps({"what": "joined", "began": started_at, "ended": time.monotonic()}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    told = {"counts": heard.counts, "last_at": heard.last_at, "first": heard.first, "closed": heard.closed}
    print(json.dumps({"what": "heard", **told}), flush=True)


def main() -> None:
    """Run, and end when told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=50, help="connections being made at a time")
    uvloop.run(run(parser.parse_args(), os.environ.get("BENCH_TOKEN", "")))


if __name__ == "__main__":
    main()
