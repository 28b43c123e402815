"""The log as a front's topics need it, from the database: what an event's number is, and what a client has missed.

At most `AT_ONCE` queries are under way: after the death of a front all its clients come back at once.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from bitnexus.actors.messages import TopicEvent
from bitnexus.actors.notifier.events import topic_events
from bitnexus.errors import RuntimeFault
from bitnexus.http.channels.topics import family
from bitnexus.storage import ledger, ledger_topics
from bitnexus.storage.database import Database

AT_ONCE: Final = 2


class TopicLog(Protocol):
    """What a hub asks. All raise DatabaseUnavailable, and RuntimeFault before the log has begun."""

    async def epoch(self) -> str:
        """What tells this log from every other one."""

    async def count(self, topic: str, up_to_seq: int | None = None) -> int:
        """How many events the topic has had up to the log's event `up_to_seq`; None: up to now."""

    async def last(self, topic: str, up_to_seq: int, count: int) -> list[TopicEvent]:
        """The topic's last `count` events up to there, oldest first; perhaps some before them."""


class StoredTopicLog:
    """The log in the database. Its epoch is read once: who puts another log in its place restarts the fronts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._epoch: str | None = None

    async def epoch(self) -> str:
        """See the protocol."""
        if self._epoch is None:
            async with self._turns, self._database.connection() as connection:
                self._epoch = await ledger_topics.epoch_of_log(connection)
            if self._epoch is None:
                raise RuntimeFault("The log has not begun yet")
        return self._epoch

    async def count(self, topic: str, up_to_seq: int | None = None) -> int:
        """See the protocol."""
        async with self._turns, self._database.connection() as connection:
            if up_to_seq is None:
                up_to_seq = await ledger.last_seq(connection)
            return await ledger_topics.count_events(connection, *_parts(topic), up_to_seq)

    async def last(self, topic: str, up_to_seq: int, count: int) -> list[TopicEvent]:
        """See the protocol."""
        async with self._turns, self._database.connection() as connection:
            events, owners = await ledger_topics.last_events(
                connection, *_parts(topic), up_to_seq=up_to_seq, limit=count
            )
        return [told for event in events for told in topic_events(event, owners, (topic,))]


def _parts(topic: str) -> tuple[str, str]:
    return family(topic), topic.partition(":")[2]
