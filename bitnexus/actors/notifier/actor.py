"""The notifier process: turns committed blocks into events for the fronts that have readers.

The log is the only truth; this process keeps positions in it and nothing else. The ledger's BlockCommitted is a hint
that saves a read: when one is lost, comes twice, or the notifier was not there, what is missing is read from the
database. So is what another node's ledger has committed: PostgreSQL's notices tell of it, and a look every second of
what no notice told. When it starts it begins at the end of the log, and fronts subscribe again from the positions that
they have come to.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from bitnexus.actors.messages import BlockCommitted, Subscribe, Subscribed, Unsubscribe
from bitnexus.actors.notifier.delivery import PAGE, RETRY_S, Delivery
from bitnexus.actors.notifier.topics import Topics
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.message import ProcessInfo
from bitnexus.actors.runtime.patience import wait_at_work
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.config import get_settings
from bitnexus.errors import BadRequest, DatabaseUnavailable, RuntimeFault
from bitnexus.storage import block_notices
from bitnexus.storage import ledger as ledger_tables
from bitnexus.storage.database import Database

#: How long a lost BlockCommitted stays unnoticed when nothing else is committed.
POLL_S: Final = 1.0
#: The notice of a block comes from the server before BlockCommitted comes from this node's ledger, which saves a read.
GRACE_S: Final = 0.02
#: How long a start waits for the database; subscribers wait for the name meanwhile.
READY_S: Final = 2.0
#: Events sent to a front and not acknowledged.
WINDOW: Final = 16_384
#: How many fronts there can be: one name is that of one process.
MAX_FRONTS: Final = 1_024
POOL_SIZE: Final = 2


class Notifier(Process):
    """Takes BlockCommitted, Subscribe, Unsubscribe; casts TopicEvent. At least once, per topic in order of `seq`."""

    async def init(self) -> None:
        """Look for the end of the log before the name is taken; without a database, go on looking after `READY_S`."""
        url = get_settings().database_url
        assert url is not None
        self._url = url
        self._database = await Database.connect(url, pool_size=POOL_SIZE, process=self.name)
        self._topics: Topics | None = None  # until the end of the log is known
        self._delivery: Delivery | None = None
        self._connections: dict[str, Connection] = {}  # front → that over which it subscribed last
        self._monitored: set[str] = set()
        self._behind = asyncio.Event()
        self._ready = asyncio.Event()
        self._told = -1  # the newest event that a notice told of
        self._looking: asyncio.TimerHandle | None = None
        self.spawn(self._follow())
        self.spawn(self._listen())
        await wait_at_work(self._ready.wait, READY_S)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - it makes no difference here
        """Close the pool; fronts subscribe again at the next notifier."""
        await self._database.close()

    def summary(self) -> dict[str, Scalar]:
        """How far it has come, and for whom."""
        topics = self._topics
        return {"fronts": len(self._connections), "position": None if topics is None else topics.head}

    # -- subscriptions ----------------------------------------------------------------------------------------

    @handles(Subscribe)
    def subscribe(self, message: Subscribe, context: Context) -> Subscribed:
        """See the message. Raises RuntimeFault while the end of the log is not known."""
        topics, delivery, name = self._topics, self._delivery, message.front
        if topics is None or delivery is None:
            raise RuntimeFault("The notifier does not know the end of the log yet")
        known = self._connections.get(name)
        if known is None and len(self._connections) >= MAX_FRONTS:
            raise BadRequest("There are too many fronts")
        if known is not None and known is not context.connection and known.is_closed:
            topics.forget(name)  # the subscriptions of an earlier life
        self._connections[name] = context.connection
        if name not in self._monitored:
            self._monitored.add(name)
            self.node.monitor(name, on_down=self._front_down)
        seq = topics.subscribe(name, message.topics, message.after_seq)
        front = topics.front(name)
        if front is not None:
            delivery.catch_up(front)
        return Subscribed(seq)

    @handles(Unsubscribe)
    def unsubscribe(self, message: Unsubscribe, context: Context) -> None:  # noqa: ARG002 - a cast
        """See the message."""
        if self._topics is not None:
            self._topics.unsubscribe(message.front, message.topics)

    def _front_down(self, info: ProcessInfo) -> None:
        self._front_gone(info.name)

    def _front_gone(self, name: str) -> None:
        connection = self._connections.get(name)
        # Else its successor has subscribed before the news of the death came.
        if self._topics is not None and connection is not None and connection.is_closed:
            del self._connections[name]
            self._topics.forget(name)

    # -- the log ----------------------------------------------------------------------------------------------

    @handles(BlockCommitted)
    def committed(self, message: BlockCommitted, context: Context) -> None:  # noqa: ARG002 - a cast
        """Offer the block's events to their readers; after a gap, all that is missing is read first."""
        topics, delivery = self._topics, self._delivery
        if topics is None or delivery is None or topics.must_read(message.first_seq, message.events):
            self._behind.set()
        else:
            delivery.send(topics.committed(message.first_seq, message.events, message.owners))

    async def _follow(self) -> None:
        """Read what no BlockCommitted told: at the start, after a gap, and every second to be sure."""
        while True:
            self._behind.clear()
            try:
                await self._read_to_end()
            except DatabaseUnavailable as error:
                self.log.warning("log_not_readable", error=error.detail, cause=repr(error.__cause__))
                await asyncio.sleep(RETRY_S)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._behind.wait(), POLL_S)

    async def _listen(self) -> None:
        """Take the server's notices of blocks; while there is no connection, what is missed is found by looking."""
        while True:
            try:
                await block_notices.listen(self._url, self.name, self._noticed)
            except DatabaseUnavailable as error:
                self.log.warning("notices_not_heard", error=error.detail, cause=repr(error.__cause__))
                await asyncio.sleep(RETRY_S)

    def _noticed(self, tree_size: int) -> None:
        self._told = max(self._told, tree_size - 1)
        if self._looking is None and self._topics is not None and self._told > self._topics.head:
            self._looking = asyncio.get_running_loop().call_later(GRACE_S, self._look)

    def _look(self) -> None:
        self._looking = None
        if self._topics is not None and self._told > self._topics.head:
            self._behind.set()

    async def _read_to_end(self) -> None:
        topics, delivery = self._topics, self._delivery
        if topics is None or delivery is None:
            async with self._database.connection() as connection:
                block = await ledger_tables.last_block(connection)
            topics = self._topics = Topics(block.tree_size - 1 if block else -1, window=WINDOW)
            delivery = self._delivery = Delivery(topics, self.node, self._database, self.spawn, self._front_gone)
            self._ready.set()
        while True:
            async with self._database.connection() as connection:
                page = await ledger_tables.events_after(connection, topics.head, limit=PAGE)
            # Blocks told meanwhile may have gone on beyond the page: what is known already is skipped.
            delivery.send(topics.committed(page.first_seq, page.told, page.owners))
            if len(page.events) < PAGE:
                return
