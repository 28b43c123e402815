"""Delivers to one endpoint: the events of the log after its position, one after another, each until it is behind it.

    log ──▶ pages after the position ──▶ those that are wanted ──▶ sent until delivered, or a dead letter ──▶ position

At least once: what was sent and not yet saved when the process dies is sent again. In order of `seq`, but for replays,
which are sent between two events when somebody asks for them, once each. One message is under way at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

import structlog

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import ledger as ledger_tables
from bitnexus.storage import webhooks as tables
from bitnexus.storage.database import Database, Executor
from bitnexus.storage.webhooks import Endpoint
from bitnexus.webhooks.events import LogEvent, body, message_id, wanted_type
from bitnexus.webhooks.policy import LONGEST_DELAY_S, Attempt, Policy, Standing, after, delay_s, judge
from bitnexus.webhooks.sender import Sender
from bitnexus.webhooks.signing import Secrets

#: Events of the log that one endpoint has in memory.
PAGE: Final = 200
#: How old what is known of a position in the database may be: what was delivered since comes again after a death.
SAVE_EVERY_S: Final = 0.25
RETRY_S: Final = 0.5
_SYSTEM_RANDOM: Final = random.SystemRandom()

log = structlog.get_logger(__name__)


class Delivery:
    """`head` tells the position of the newest event that is known of; `wake` is to be called when it has moved."""

    def __init__(
        self,
        endpoint: Endpoint,
        database: Database,
        sender: Sender,
        secrets: Secrets,
        *,
        policy: Policy,
        head: Callable[[], int],
    ) -> None:
        self.endpoint = endpoint
        self._database = database
        self._sender = sender
        self._policy = policy
        self._head = head
        salts = (endpoint.salt, endpoint.previous_salt)
        self._keys = secrets.keys(endpoint.id, [salt for salt in salts if salt is not None])
        since_us = endpoint.unavailable_since_us
        self._standing = Standing(endpoint.attempts, None if since_us is None else since_us / 1e6)
        self._position = endpoint.position
        self._saved_at = 0.0
        self._last_error = endpoint.last_error
        self._delivered_at: float | None = None
        self._replays = endpoint.replays
        self._news = asyncio.Event()
        self._ended = False  # the endpoint is disabled

    def wake(self, *, replays: bool) -> None:
        """The log has grown, or there are dead letters to replay."""
        self._replays = self._replays or replays
        self._news.set()

    async def run(self) -> None:
        """Until the endpoint is disabled, or the task is cancelled."""
        while not self._ended:
            try:
                await self._work()
            except DatabaseUnavailable as error:
                log.warning("webhook_database_away", endpoint=self.endpoint.id, error=error.detail)
                await asyncio.sleep(RETRY_S)

    async def _work(self) -> None:
        while not self._ended:
            self._news.clear()
            if self._replays:
                await self._replay_all()
            if self._position >= self._head():
                await self.save()
                await self._news.wait()
                continue
            async with self._database.connection() as connection:
                page = await ledger_tables.events_after(connection, self._position, limit=PAGE)
            for seq, event in enumerate(page.events, page.first_seq):
                type_ = wanted_type(event, self.endpoint.events)
                if type_ is not None and not await self._deliver(seq, type_, event):
                    return
                self._position = seq
                if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
                    await self.save()
                if self._replays:
                    break

    async def _deliver(self, seq: int, type_: str, event: LogEvent) -> bool:
        """True when the event is behind the endpoint, delivered or dead; False when that is disabled."""
        message = body(event)
        while True:
            attempt = await self._sender.send(self.endpoint.url, self._keys, message_id(seq), message)
            before, now_s = self._standing, time.time()
            step, self._standing = after(attempt, before, self._policy, now_s)
            if step == "on":
                self._delivered_at, self._last_error = now_s, ""
                return True
            self._last_error = _words(attempt)
            log.info("webhook_not_delivered", endpoint=self.endpoint.id, seq=seq, why=self._last_error, then=step)
            if step == "disable":
                await self._disable("the receiver says that it is gone (410)")
                return False
            if step == "dead":
                buried = await self._bury(seq, type_, before.attempts + 1)
                if self._standing.unavailable_since_s is not None:
                    await asyncio.sleep(LONGEST_DELAY_S)  # else all that follow would be given up within moments
                return buried
            await self.save()
            await asyncio.sleep(delay_s(self._standing, attempt, _SYSTEM_RANDOM.random()))

    async def _bury(self, seq: int, type_: str, attempts: int) -> bool:
        if self.endpoint.dead >= tables.MAX_DEAD_LETTERS:
            await self._disable(f"it has {tables.MAX_DEAD_LETTERS} dead letters")
            return False
        async with self._database.connection() as connection, connection.transaction():
            await tables.bury(
                connection, self.endpoint.id, seq=seq, type_=type_, attempts=attempts, error=self._last_error
            )
            self._position = seq
            await self._save(connection)
        log.warning("webhook_dead_letter", endpoint=self.endpoint.id, seq=seq, attempts=attempts, why=self._last_error)
        return True

    async def _replay_all(self) -> None:
        self._replays = False
        while True:
            async with self._database.connection() as connection:
                letter = await tables.next_replay(connection, self.endpoint.id)
                if letter is None:
                    return
                page = await ledger_tables.events_after(connection, letter.seq - 1, limit=1)
            (event,) = page.events
            attempt = await self._sender.send(self.endpoint.url, self._keys, message_id(letter.seq), body(event))
            async with self._database.connection() as connection:
                if judge(attempt) == "delivered":
                    await tables.discard(connection, self.endpoint.id, [letter.seq])
                    continue
                await tables.bury(
                    connection,
                    self.endpoint.id,
                    seq=letter.seq,
                    type_=letter.type,
                    attempts=letter.attempts + 1,
                    error=_words(attempt),
                )

    async def _disable(self, because: str) -> None:
        self._ended = True
        log.warning("webhook_disabled", endpoint=self.endpoint.id, because=because)
        await self.save()
        async with self._database.connection() as connection:
            await tables.disable(connection, self.endpoint.id, because)

    async def save(self) -> None:
        """Have the database know how far it has come."""
        async with self._database.connection() as connection:
            await self._save(connection)

    async def _save(self, connection: Executor) -> None:
        standing = self._standing
        await tables.save(
            connection,
            self.endpoint.id,
            self._position,
            standing.attempts,
            standing.unavailable_since_s,
            self._last_error,
            self._delivered_at,
        )
        self._saved_at = time.monotonic()


def _words(attempt: Attempt) -> str:
    return f"answered {attempt.status}" if attempt.status is not None else attempt.error
