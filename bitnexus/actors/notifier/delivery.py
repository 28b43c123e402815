"""Sends events to fronts: live ones as they come, missed ones from the database, and asks for acknowledgements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from typing import Any, Final

import structlog

from bitnexus.actors.messages import AcknowledgeEvents, TopicEvent
from bitnexus.actors.notifier.events import LogEvent, user_of
from bitnexus.actors.notifier.topics import Front, Topics
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BitNexusError, DatabaseUnavailable, NoProcess, Overloaded, ProcessDown, UnknownMessage
from bitnexus.storage import ledger as ledger_tables
from bitnexus.storage import ledger_topics
from bitnexus.storage.database import Database

#: Waiting before something that failed is tried again.
RETRY_S: Final = 0.5
#: Events read from the database at a time.
PAGE: Final = 1_000
#: A front that does not acknowledge for so long is not live.
ACKNOWLEDGE_TIMEOUT_S: Final = 10.0
#: Up to so many events behind, the log is read as a whole, for all lagging topics at once; further behind, the
#: events of some users at a time, by their indexes.
SCAN: Final = 20_000
USERS: Final = 50

log = structlog.get_logger(__name__)


class Delivery:
    """The sending side of `topics`.

    `spawn` runs a task of the process; `on_gone` is told of a front that is not there.
    """

    def __init__(
        self,
        topics: Topics,
        node: Node,
        database: Database,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[Any]],
        on_gone: Callable[[str], None],
    ) -> None:
        self._topics = topics
        self._node = node
        self._database = database
        self._spawn = spawn
        self._on_gone = on_gone
        self._replays: dict[Front, asyncio.Task[Any]] = {}
        self._settling: dict[Front, asyncio.Future[bool]] = {}  # resolved by the answer to an acknowledgement asked for

    def send(self, sends: list[tuple[str, TopicEvent]]) -> None:
        """Cast live events; fronts that do not keep up are brought up to date afterwards."""
        dropped: set[str] = set()
        for name, event in sends:
            # Behind one that is lost there must be none that arrives: a reader would take it for the next.
            if name not in dropped and not self._node.cast(name, event):
                dropped.add(name)
        for front in self._topics.fronts:
            if front.name in dropped:
                self._topics.fall_back(front)
            self._ask(front)
            self.catch_up(front)

    def catch_up(self, front: Front) -> None:
        """See to it that the front's lagging topics come to the head."""
        if front.lagging and front not in self._replays and self._is_current(front):
            task = self._replays[front] = self._spawn(self._replay(front))
            task.add_done_callback(lambda _: self._replay_done(front))

    def _replay_done(self, front: Front) -> None:
        del self._replays[front]
        self.catch_up(front)  # what fell back, or was subscribed, after its last look

    def _is_current(self, front: Front) -> bool:
        return self._topics.front(front.name) is front

    # -- acknowledgements -------------------------------------------------------------------------------------

    def _ask(self, front: Front) -> None:
        """Ask for an acknowledgement, if there is something to acknowledge and none is asked for."""
        position = self._topics.mark(front)
        if position is None:
            return
        on_reply = partial(self._answered, front)
        try:
            self._node.request(front.name, AcknowledgeEvents(position), on_reply, timeout_s=ACKNOWLEDGE_TIMEOUT_S)
        except Overloaded as error:
            on_reply(error)

    def _answered(self, front: Front, result: Message | BitNexusError) -> None:
        # A front that does not know the question has got what was sent before it as well.
        arrived = not isinstance(result, BitNexusError) or isinstance(result, UnknownMessage)
        if arrived:
            self._topics.acknowledge(front)
        else:
            self._topics.fail_mark(front)
        settling = self._settling.pop(front, None)
        if settling is not None:
            settling.set_result(arrived)
        if not self._is_current(front):
            return
        if arrived:
            self._ask(front)
            return
        assert isinstance(result, BitNexusError)
        log.warning("events_not_acknowledged", front=front.name, error=result.code)
        if isinstance(result, NoProcess | ProcessDown):
            self._on_gone(front.name)
        self.catch_up(front)

    async def _settle(self, front: Front) -> bool:
        """Wait until all that was sent has arrived; False when an acknowledgement failed, or the front is gone."""
        while front.unacknowledged or front.mark is not None:
            self._ask(front)
            if front.mark is None:
                return False  # it could not even be asked
            settling = self._settling.get(front)
            if settling is None:
                settling = self._settling[front] = asyncio.get_running_loop().create_future()
            if not await settling:
                return False
        return True

    # -- replay -----------------------------------------------------------------------------------------------

    async def _replay(self, front: Front) -> None:
        """Page by page; one at a time is under way, so what is on its way to a slow front is bounded."""
        while self._is_current(front) and front.lagging:
            if not await self._settle(front):
                await asyncio.sleep(RETRY_S)
                continue
            try:
                sends = await self._page(front)
            except DatabaseUnavailable as error:
                log.warning("log_not_readable", front=front.name, error=error.detail)
                await asyncio.sleep(RETRY_S)
                continue
            if not all(self._node.cast(front.name, event) for event in sends):
                self._topics.rewind(front)
                await asyncio.sleep(RETRY_S)
            self._ask(front)

    async def _page(self, front: Front) -> list[TopicEvent]:
        """Read on from the position of the topic furthest behind."""
        position, head = min(front.lagging.values(), default=self._topics.head), self._topics.head
        events: list[tuple[LogEvent, int]]
        owners: Mapping[str, str]
        if head - position <= SCAN:
            topics = dict(front.lagging)
            async with self._database.connection() as connection:
                page = await ledger_tables.events_after(connection, position, limit=PAGE)
            events, owners = [*zip(page.told, range(position + 1, position + 1 + PAGE), strict=False)], page.owners
            up_to = position + len(page.events)
            if len(page.events) < PAGE:
                up_to = max(up_to, head)
        else:
            topics = dict(nsmallest(USERS, front.lagging.items(), key=lambda item: item[1]))
            users = list(dict.fromkeys(user for topic in topics if (user := user_of(topic)) is not None))
            events, owners, up_to = await self._of_users(users, position, head)
        if not self._is_current(front):
            return []
        return self._topics.replay(front, topics, events, owners, up_to)

    async def _of_users(
        self, users: Sequence[str], position: int, head: int
    ) -> tuple[list[tuple[LogEvent, int]], Mapping[str, str], int]:
        """The events of these users after `position`, a page of them; the owners; and up to where they are all."""
        bounds = {"after_seq": position, "up_to_seq": head, "limit": PAGE}
        async with self._database.connection() as connection:
            transfers, owners = await ledger_tables.transfers_of_owners(connection, users, **bounds)
            places = await ledger_tables.other_places_of_owners(connection, users, **bounds)
            others = await ledger_topics.events_at(connection, places)
            owners |= await ledger_tables.owners_of(connection, others)
        up_to = min([head] + [page[-1] for page in ([t.seq for t in transfers], places) if len(page) == PAGE])
        events: list[tuple[LogEvent, int]] = [(transfer, transfer.seq) for transfer in transfers]
        events += zip(others, places, strict=True)
        return sorted(events, key=lambda item: item[1]), owners, up_to
