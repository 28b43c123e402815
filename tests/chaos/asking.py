"""A client that asks until it has the truth: one keep-alive connection, the same request again after every trouble."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.connection import REQUESTS_PER_CONNECTION, Connection
from tests.chaos.excuses import Kind, Trouble

#: A front answers within its deadline of 10 s, if only by 503; the rest is for a busy machine.
ATTEMPT_WITHIN_S: Final = 16.0
#: All attempts of one request together. A node that was stopped for longer has not kept its promises.
ANSWER_WITHIN_S: Final = 60.0
#: An operator's command may take longer.
OPERATED_WITHIN_S: Final = 40.0
#: Between two attempts where nobody listens.
_AGAIN_AFTER_S: Final = 0.1
_BREATH_S: Final = 0.01
#: A client waits as it is told, but a test not longer than this.
_MOST_RETRY_AFTER_S: Final = 1.0
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and parsed body of an answer that is none of trouble; and when it was asked for and there."""

    status: int
    body: Any
    began_at: float
    ended_at: float
    attempts: int


@dataclass(slots=True)
class Tally:
    """What all clients together have seen. `longest_gap_s`: without any answer to anybody, since `mark`."""

    requests: int = 0
    answered: int = 0
    unanswered: list[str] = field(default_factory=list)
    refused_unavailable: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    slowest_s: float = 0.0
    longest_gap_s: float = 0.0
    last_answer_at: float = field(default_factory=time.monotonic)

    def mark(self) -> None:
        """What is measured begins now."""
        self.slowest_s = self.longest_gap_s = 0.0
        self.last_answer_at = time.monotonic()

    def note(self, began_at: float, ended_at: float) -> None:
        """Somebody was answered."""
        self.answered += 1
        self.slowest_s = max(self.slowest_s, ended_at - began_at)
        self.longest_gap_s = max(self.longest_gap_s, ended_at - self.last_answer_at)
        self.last_answer_at = ended_at


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, as bytes and in a word."""

    line: str
    raw: bytes


def request(method: str, path: str, token: str, body: object = None, *, key: str | None = None) -> Request:
    """A request of this user; with `key` idempotent by it."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
    if key is not None:
        lines.append(f"Idempotency-Key: {key}")
    return Request(f"{method} {path}", "\r\n".join([*lines, "", ""]).encode() + payload)


class Asker:
    """One client's way to the service at `port`."""

    def __init__(self, name: str, port: int, tally: Tally) -> None:
        self.name = name
        self._port = port
        self._tally = tally
        self._connection: Connection | None = None

    async def ask(self, asked: Request) -> Answer | None:
        """The answer; None if there was none in :data:`ANSWER_WITHIN_S`, which is noted as failed."""
        self._tally.requests += 1
        began_at, attempts = time.monotonic(), 0
        while time.monotonic() - began_at < ANSWER_WITHIN_S:
            attempts += 1
            found = await self._attempt(asked)
            if found is not None:
                ended_at = time.monotonic()
                self._tally.note(began_at, ended_at)
                return Answer(found[0], found[1], began_at, ended_at, attempts)
        self._tally.unanswered.append(f"{self.name}: no answer within {ANSWER_WITHIN_S} s to {asked.line}")
        return None

    def wrong(self, asked: Request, answer: Answer) -> None:
        """Note an answer that is not one of those that are right."""
        words = f"{asked.line}: {answer.status} {json.dumps(answer.body)[:500]}"
        self._tally.troubles.append(Trouble(self.name, Kind.WRONG, answer.began_at, answer.ended_at, words))

    def hang_up(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _attempt(self, asked: Request) -> tuple[int, Any] | None:
        """Status and body, or None and a trouble is noted."""
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(ATTEMPT_WITHIN_S):
                connection = await self._connected()
                status, raw = await connection.request(asked.raw)
        except ConnectionRefusedError as error:
            await self._trouble(Kind.DEAF, began_at, repr(error), _AGAIN_AFTER_S)
            return None
        except TimeoutError:
            await self._trouble(Kind.SILENT, began_at, f"no answer to {asked.line}", 0.0)
            return None
        except (ConnectionError, EOFError) as error:
            await self._trouble(Kind.BROKEN, began_at, repr(error), _BREATH_S)
            return None
        if status == _UNAVAILABLE:
            # Where the header is missing, the client was not told what to do: that is wrong in itself.
            after = _header(connection.head, b"retry-after")
            kind = Kind.WRONG if after is None else Kind.UNAVAILABLE
            self._tally.refused_unavailable += after is not None
            words = f"{asked.line}: {raw[:300]!r}"
            wait_s = min(float(after or 0.0), _MOST_RETRY_AFTER_S)
            self._note(kind, connection.opened_at, words)
            await asyncio.sleep(wait_s)
            return None
        return status, json.loads(raw) if raw else None

    async def _connected(self) -> Connection:
        known = self._connection
        # It may have ended while its client waited as it was told: that costs no request.
        if known is not None and (known.is_over or known.has_ended or known.requests >= REQUESTS_PER_CONNECTION):
            self.hang_up()
        if self._connection is None:
            self._connection = await Connection.open(self._port)
        return self._connection

    async def _trouble(self, kind: Kind, began_at: float, words: str, wait_s: float) -> None:
        known = self._connection
        self._note(kind, known.opened_at if known is not None and kind is Kind.BROKEN else began_at, words)
        self.hang_up()
        await asyncio.sleep(wait_s)

    def _note(self, kind: Kind, opened_at: float, words: str) -> None:
        port = 0 if self._connection is None else self._connection.local_port
        self._tally.troubles.append(Trouble(self.name, kind, opened_at, time.monotonic(), words, port))


async def once(port: int, asked: Request) -> int | None:
    """The status of one attempt's answer over a connection of its own, whatever it is; None if there was none."""
    try:
        async with asyncio.timeout(OPERATED_WITHIN_S):
            connection = await Connection.open(port)
            try:
                status, _ = await connection.request(asked.raw)
            finally:
                connection.close()
    except (OSError, EOFError):  # a TimeoutError is an OSError
        return None
    return status


def _header(head: bytes, name: bytes) -> str | None:
    for line in head.split(b"\r\n"):
        if line[: len(name) + 1].lower() == name + b":":
            return line[len(name) + 1 :].decode().strip()
    return None
