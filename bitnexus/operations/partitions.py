"""The command that changes how many partitions a partition supervisor has."""

from __future__ import annotations

from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions
from bitnexus.actors.operator_messages import MAX_WITHIN_S, ChangePartitions
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BadRequest, CommandRefused, UnknownMessage
from bitnexus.operations.looking import ANSWER_S, Looking
from bitnexus.supervision.partition_supervisor import MAX_PARTITIONS
from bitnexus.supervision.slots import moves


class PartitionChanges:
    """What it would do, and doing it. The supervisor carries it out, whoever still waits."""

    def __init__(self, node: Node, looking: Looking) -> None:
        self._node = node
        self._looking = looking

    async def would(self, message: ChangePartitions) -> PartitionsSet:
        """What would be done. Raises UnknownPath, CommandRefused, BadRequest, and RuntimeFault when nobody answers."""
        if not 0 < message.within_s <= MAX_WITHIN_S:
            raise BadRequest(f"A command may be given up to {MAX_WITHIN_S:g} s")
        if not 1 <= message.count <= MAX_PARTITIONS:
            raise BadRequest(f"There can be 1 to {MAX_PARTITIONS} partitions")
        place = await self._looking.place(message.path)
        try:
            found = await self._node.call(place.branch.name, GetPartitions(), timeout_s=ANSWER_S)
        except UnknownMessage:
            found = None
        if place.key or not isinstance(found, Partitions):
            raise CommandRefused(f"{place.path} has no partitions")
        return PartitionsSet(found.count, message.count, len(moves(found.count, message.count)), 0.0)

    async def carry_out(self, message: ChangePartitions) -> PartitionsSet:
        """Do it. Raises Conflict, NoProcess (nothing has changed), CallTimeout (it goes on)."""
        name = message.path.rstrip("/").rpartition("/")[2]
        answer = await self._node.call(name, SetPartitions(message.count), timeout_s=message.within_s)
        if not isinstance(answer, PartitionsSet):
            raise UnknownMessage(f"{name} answered by {type(answer).__name__}")
        return answer
