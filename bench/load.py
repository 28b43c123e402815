"""The load generator that needs nothing installed: keep-alive connections, each with one request at a time.

    python -m bench.load --port … --requests FILE --prefix KEY [--connections 64] [--seconds 10]

Sends the same as `requests.lua` makes wrk send, which takes less of the CPU and is preferred where it is installed.
Prints one line of JSON of the same form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import uvloop

from bench import requests as request_files
from bench.requests import Request

#: Past the end of the load: what is in flight then is still counted.
DRAIN_S: Final = 10.0
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


class Source:
    """Which request comes next: one of the file's, under a key of its own."""

    def __init__(self, requests: Sequence[Request], prefix: str) -> None:
        self._requests = requests
        self._prefix = prefix.encode()
        self._random = random.Random(prefix).random
        self.keyed = 0

    def next(self) -> bytes:
        """A random one."""
        chosen = self._requests[int(self._random() * len(self._requests))]
        if not chosen.keyed:
            return chosen.before
        self.keyed += 1
        return b"%s%s-%d%s" % (chosen.before, self._prefix, self.keyed, chosen.after)


class Tally:
    """What has been answered: latencies in µs, errors by kind."""

    def __init__(self) -> None:
        self.latencies_us: list[int] = []
        self.errors = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}


class Client(asyncio.Protocol):
    """One connection: sends the next request when the last one is answered, until `stopped`."""

    def __init__(self, source: Source, tally: Tally, done: asyncio.Future[None]) -> None:
        self._source, self._tally, self._done = source, tally, done
        self._buffer = b""
        self._sent_at = 0.0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._source.next())

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole."""
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(_END_OF_HEAD)
        if end >= 0:
            head = buffer[:end].lower()
            start = head.index(_LENGTH) + len(_LENGTH)
            stop = head.find(b"\r\n", start)
            length = int(head[start : stop if stop >= 0 else end])
            if len(buffer) >= end + len(_END_OF_HEAD) + length:
                self._buffer = b""
                self._answered(buffer[9:10])
                return
        self._buffer = buffer

    def _answered(self, status_class: bytes) -> None:
        self._tally.latencies_us.append(int((time.perf_counter() - self._sent_at) * 1e6))
        if status_class != b"2":
            self._tally.errors["status"] += 1
        if self.stopped:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """A connection that ends before it was told to is an error."""
        if not self.stopped or error is not None:
            self._tally.errors["read"] += 1
        if not self._done.done():
            self._done.set_result(None)


async def run(port: int, source: Source, *, connections: int, seconds: float) -> Tally:
    """Load the server on this port for so many seconds, and wait for the last answers."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    clients: list[Client] = []
    ends: list[asyncio.Future[None]] = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        client = Client(source, tally, done)
        try:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        except OSError:
            tally.errors["connect"] += 1
            continue
        clients.append(client)
        ends.append(done)
    await asyncio.sleep(seconds)
    for client in clients:
        client.stopped = True
    _, unanswered = await asyncio.wait(ends, timeout=DRAIN_S)
    tally.errors["timeout"] += len(unanswered)
    return tally


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=Path, required=True, help="see bench/requests.py")
    parser.add_argument("--prefix", required=True, help="of the idempotency keys: another one for every run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    source = Source(request_files.read(options.requests), options.prefix)
    started_at = time.perf_counter()
    tally = uvloop.run(run(options.port, source, connections=options.connections, seconds=options.seconds))
    elapsed_s = time.perf_counter() - started_at
    if not tally.latencies_us:
        sys.exit("no request was answered")
    ordered = sorted(tally.latencies_us)

    def percentile_ms(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000

    result = {
        "requests": len(ordered),
        "keyed": source.keyed,
        "seconds": elapsed_s,
        "p50_ms": percentile_ms(0.5),
        "p90_ms": percentile_ms(0.9),
        "p99_ms": percentile_ms(0.99),
        "max_ms": ordered[-1] / 1000,
        "errors": tally.errors,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
