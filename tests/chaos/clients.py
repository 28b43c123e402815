"""Clients that pay each other over HTTP without a pause and keep book of what they were told.

A client has one keep-alive connection. A request that gets no answer because its connection broke is repeated, with the
same id, over a new one, until the answer is there; every break is noted with the local port, so that it can be blamed
on a killed front or on nobody. Every wait has a deadline.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.connection import REQUESTS_PER_CONNECTION, Connection
from tests.customers import Customer

#: From the first attempt to the answer, over all repeats: "it only takes a little longer".
ANSWER_WITHIN_S: Final = 15.0
LARGEST_AMOUNT: Final = 500
_MAX_COMPLAINTS: Final = 20
_CREATED, _REPLAYED = 201, 200


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A transfer that a client was told is done, and the place in the log that it was told."""

    transfer_id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    seq: int
    block: int


@dataclass(frozen=True, slots=True)
class Break:
    """A connection that ended without an answer; times by `time.monotonic`."""

    local_port: int  # 0: reset before it stood
    opened_at: float
    broke_at: float
    error: str


@dataclass(slots=True)
class Diary:
    """What all clients of a run have seen."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def complain(self, about: str) -> None:
        """Note what must not happen; of many, the first."""
        self.answers["wrong"] += 1
        if len(self.complaints) < _MAX_COMPLAINTS:
            self.complaints.append(about)

    def summary(self) -> str:
        """One line for messages."""
        return (
            f"{len(self.acknowledged)} acknowledged, answers {dict(self.answers)}, "
            f"{len(self.breaks)} broken connections, slowest answer {self.slowest_s:.2f} s"
        )


class Payer:
    """One client. `run` posts transfers between random customers until `stop` is set, and finishes the last one."""

    def __init__(self, port: int, customers: Sequence[Customer], diary: Diary, rng: random.Random) -> None:
        self._port = port
        self._customers = customers
        self._diary = diary
        self._rng = rng
        self._connection: Connection | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Pay until `stop`."""
        while not stop.is_set():
            await self._pay()
        self._hang_up()

    async def _pay(self) -> None:
        payer, payee = self._rng.sample(self._customers, 2)
        fields = {
            "debit_account_id": payer.account_id,
            "credit_account_id": payee.account_id,
            "amount": self._rng.randint(1, LARGEST_AMOUNT),
        }
        # Both ways to name a transfer: its id, or a key that its id is derived from.
        identity = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        key = identity if self._rng.random() < 0.5 else None
        if key is None:
            fields["id"] = identity
        request = post_request(payer.token, {"transaction": fields}, key)
        started_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                attempts, status, body = await self._answer(request)
        except TimeoutError:
            self._diary.complain(f"no answer within {ANSWER_WITHIN_S} s for {identity}")
            self._hang_up()
            return
        self._diary.slowest_s = max(self._diary.slowest_s, time.monotonic() - started_at)
        self._note(fields, attempts, status, body)

    async def _answer(self, request: bytes) -> tuple[int, int, bytes]:
        """The number of attempts, status and body; repeats the request until there is an answer."""
        attempts = 0
        while True:
            began_at = time.monotonic()
            try:
                connection = await self._connected()
                attempts += 1
                return attempts, *await connection.request(request)
            except ConnectionRefusedError as error:
                self._diary.complain(f"nobody listens: {error!r}")
                raise TimeoutError from error
            except (ConnectionError, EOFError) as error:
                known = self._connection
                port, opened_at = (known.local_port, known.opened_at) if known else (0, began_at)
                self._diary.breaks.append(Break(port, opened_at, time.monotonic(), repr(error)))
                self._hang_up()

    async def _connected(self) -> Connection:
        known = self._connection
        if known is not None and (known.is_over or known.requests >= REQUESTS_PER_CONNECTION):
            self._hang_up()
        if self._connection is None:
            self._connection = await Connection.open(self._port)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note(self, fields: dict[str, Any], attempts: int, status: int, body: bytes) -> None:
        self._diary.answers[f"{status} at attempt {attempts}"] += 1
        # A replay at the first attempt: the front repeated the call, because the ledger died after its commit.
        if status not in (_CREATED, _REPLAYED):
            self._diary.complain(f"{status} at attempt {attempts}: {body[:500]!r}")
            return
        told = json.loads(body)["data"]
        if any(told[name] != value for name, value in fields.items()):
            self._diary.complain(f"asked for {fields}, was told {told}")
            return
        places = (told["debit_account_id"], told["credit_account_id"], told["amount"], told["seq"], told["block"])
        self._diary.acknowledged.append(Acknowledged(told["id"], *places))


def post_request(token: str, body: object, key: str | None) -> bytes:
    """The bytes of a POST of a transaction."""
    payload = json.dumps(body).encode()
    lines = [
        "POST /api/v1/transactions HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(payload)}",
    ]
    if key is not None:
        lines.append(f"Idempotency-Key: {key}")
    return "\r\n".join([*lines, "", ""]).encode() + payload
