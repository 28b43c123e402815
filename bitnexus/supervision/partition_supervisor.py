"""A supervisor of partitions, equal workers that share keys among them; their number can be changed while they work.

    ChildSpec("transactions", ProcessStart("…:PartitionSupervisor", {"flags": …, "children": [first ones]}), …)

The children are called after it, ``transactions-0`` and so on; further ones are made as the first. It is a supervisor
like any other, and beside that the place where a change of the number is decided (see partitioned.py):

- Routers join it (:class:`bitnexus.supervision.partition_messages.JoinPartitions`) and know from then on which
  partition takes which key. It is not on the way of any message.
- Partitions ask it which slots are theirs, when they start; no other key is served by them, whoever asks.
- :class:`SetPartitions` starts partitions or stops them, and moves the slots between them while everything goes on.

When it dies, its partitions die with it, and it begins again with its first children.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import StartProcess, handles
from bitnexus.errors import BadRequest, BitNexusError, Conflict, NoProcess, RuntimeFault
from bitnexus.supervision.events import (
    ChildExited,
    ChildStartFailed,
    DeleteChild,
    Error,
    Event,
    StartChild,
    TerminateChild,
)
from bitnexus.supervision.partition_messages import (
    DrainSlots,
    GetSlots,
    JoinPartitions,
    OwnSlots,
    PartitionTable,
    Slots,
)
from bitnexus.supervision.partition_routers import AGAIN_S, RouterLink
from bitnexus.supervision.partitioned import Resize, Step, errands_of
from bitnexus.supervision.slots import partition_name, partition_number
from bitnexus.supervision.spec import ChildSpec
from bitnexus.supervision.supervisor import Supervisor

MAX_PARTITIONS: Final = 256
#: How long a partition may take to answer; then it is asked again. It may have to wait for what it has in work.
ANSWER_TIMEOUT_S: Final = 60.0


class PartitionSupervisor(Supervisor):
    """Args: as a Supervisor's; `children` are the partitions to begin with, one or more."""

    def _boot(self, start: StartProcess) -> None:
        self._routers: dict[Connection, RouterLink] = {}
        super()._boot(start)

    async def init(self) -> None:
        """Begin to start the first partitions."""
        first: Sequence[ChildSpec] = self.args["children"]
        assert [spec.id for spec in first] == [partition_name(self.name, number) for number in range(len(first))]
        self._like = first[0]
        self._resize = Resize(len(first))
        self._tickets = 0
        self._resized: asyncio.Future[int] | None = None  # the number of slots that were moved
        self._moved = 0
        await super().init()

    def summary(self) -> dict[str, Scalar]:
        """As any supervisor's, and how many partitions there are."""
        state = "changing" if self._resize.is_under_way else "settled"
        return {
            **super().summary(),
            "partitions": self._resize.partitions,
            "slots": state,
            "routers": len(self._routers),
        }

    # -- what others ask -------------------------------------------------------------------------------------

    @handles(GetPartitions, clients=True)
    def _partitions(self, message: GetPartitions, context: Context) -> Partitions:  # noqa: ARG002 - a question
        return Partitions(self._resize.partitions, list(self._resize.owners))

    @handles(JoinPartitions)
    def _join(self, message: JoinPartitions, context: Context) -> PartitionTable:
        self._forget_router(context.connection)
        self._tickets += 1
        link = RouterLink(self.node, message.router, self._tickets, self._router_holds, self.spawn)
        self._routers[context.connection] = link
        return PartitionTable(self._tickets, list(self._resize.owners), self._resize.joined(link))

    def _connection_lost(self, connection: Connection) -> None:
        self._forget_router(connection)
        super()._connection_lost(connection)

    def _forget_router(self, connection: Connection) -> None:
        # One whose connection was cut, not its life, may send for a while to where it did: there it is refused.
        link = self._routers.pop(connection, None)
        if link is not None:
            link.leave()
            self._take(self._resize.left(link))

    @handles(GetSlots)
    def _slots(self, message: GetSlots, context: Context) -> Slots:  # noqa: ARG002 - nobody in particular
        number = partition_number(self.name, message.partition)
        return Slots([slot for slot, owner in enumerate(self._resize.owners) if owner == number])

    # -- a change of their number ----------------------------------------------------------------------------

    @handles(SetPartitions)
    async def _set(self, message: SetPartitions, context: Context) -> PartitionsSet:  # noqa: ARG002 - of operations
        """Answered when it is done; it goes on when nobody waits any more."""
        before, loop = self._resize.partitions, self.transport.loop
        if not 1 <= message.count <= MAX_PARTITIONS:
            raise BadRequest(f"There can be 1 to {MAX_PARTITIONS} partitions")
        if self._resized is not None:
            raise Conflict("The number of partitions is being changed already")
        if message.count == before:
            return PartitionsSet(before, before, 0, 0.0)
        self.log.warning("partitions_change", before=before, after=message.count)
        started_at = loop.time()
        self._moved = 0
        self._resized = loop.create_future()
        try:
            self._take(self._resize.begin(message.count))
            moved = await self._resized
        finally:
            self._resized = None
        seconds = loop.time() - started_at
        self.log.warning(
            "partitions_changed", before=before, after=message.count, slots=moved, seconds=round(seconds, 3)
        )
        return PartitionsSet(before, message.count, moved, seconds)

    def _tell(self, event: Event) -> None:
        """As any supervisor; what a dead partition was to do for a change of their number is not waited for."""
        if isinstance(event, ChildExited | ChildStartFailed):
            number = partition_number(self.name, event.id)
            if number is not None:
                self._take(self._resize.down(number))
        super()._tell(event)

    def _router_holds(self, link: RouterLink, slots: list[int]) -> None:
        self._take([step for slot in slots for step in self._resize.holds(link, slot)])

    def _take(self, steps: Sequence[Step]) -> None:
        """Carry steps out."""
        errands = errands_of(steps)
        for link in errands.routers:
            assert isinstance(link, RouterLink)
            link.tell(errands.releases.get(link, []), errands.holds.get(link, []))
        for partition, slots in errands.drains.items():
            self.spawn(self._have_drained(partition, slots))
        for partition, slots in errands.owns.items():
            self.spawn(self._hand_to(partition, slots))
        for partition in errands.starts:
            self.spawn(self._start_partition(partition))
        if errands.is_resized:
            self.spawn(self._end_change(errands.stops))

    async def _start_partition(self, partition: int) -> None:
        spec = replace(self._like, id=partition_name(self.name, partition))
        result = await self.operate(partial(StartChild, spec))
        if not isinstance(result, Error):
            self._take(self._resize.up(partition))
        elif self._resize.is_under_way:  # else another one has failed, too
            stops = errands_of(self._resize.start_failed()).stops
            await self._end_change(stops, NoProcess(f"{spec.id} did not start: {result.code} {result.detail or ''}"))

    async def _have_drained(self, partition: int, slots: list[int]) -> None:
        await self._ask_partition(partition, slots, DrainSlots(slots))
        self._take([step for slot in slots for step in self._resize.drained(partition, slot)])

    async def _hand_to(self, partition: int, slots: list[int]) -> None:
        await self._ask_partition(partition, slots, OwnSlots(slots))
        self._moved += len(slots)
        self._take([step for slot in slots for step in self._resize.owns(partition, slot)])

    async def _ask_partition(self, partition: int, slots: list[int], message: Message) -> None:
        """Until it is answered. Who is not there has nothing to drain, and asks what it owns when it is."""
        name = partition_name(self.name, partition)
        while name in self._children and self._resize.waits_for(partition, slots):
            try:
                await self.node.call(name, message, timeout_s=ANSWER_TIMEOUT_S)
            except RuntimeFault as error:
                self.log.info("partition_asked_again", partition=name, reason=error.code)
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _end_change(self, stops: Sequence[int], failure: BitNexusError | None = None) -> None:
        for partition in stops:
            await self.operate(partial(TerminateChild, partition_name(self.name, partition)))
            await self.operate(partial(DeleteChild, partition_name(self.name, partition)))
        if self._resized is None or self._resized.done():
            return
        if failure is None:
            self._resized.set_result(self._moved)
        else:
            self._resized.set_exception(failure)
