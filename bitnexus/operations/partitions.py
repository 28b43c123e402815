"""The command that changes how many partitions a partition supervisor has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions
from bitnexus.actors.operator_messages import MAX_WITHIN_S, ChangePartitions, Step
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BadRequest, CommandRefused, UnknownMessage
from bitnexus.operations.looking import ANSWER_S, Looking
from bitnexus.operations.tree import Branch
from bitnexus.supervision.partition_supervisor import MAX_PARTITIONS
from bitnexus.supervision.slots import SLOTS, moves, partition_name


@dataclass(frozen=True, slots=True)
class PartitionsPlan:
    """What is to be done to the partition supervisor at `path`, which has `before` partitions; no step: nothing."""

    path: str
    supervisor: str
    before: int
    count: int
    slots: int
    steps: tuple[Step, ...]


class PartitionChanges:
    """What such a command would do, and doing it. The supervisor carries it out, whoever still waits."""

    def __init__(self, node: Node, looking: Looking) -> None:
        self._node = node
        self._looking = looking

    async def plan(self, message: ChangePartitions) -> PartitionsPlan:
        """What would be done. Raises UnknownPath, CommandRefused, BadRequest, and RuntimeFault when nobody answers."""
        if not 0 < message.within_s <= MAX_WITHIN_S:
            raise BadRequest(f"A command may be given up to {MAX_WITHIN_S:g} s")
        if not 1 <= message.count <= MAX_PARTITIONS:
            raise BadRequest(f"There can be 1 to {MAX_PARTITIONS} partitions")
        place = (await self._looking.locate(message.path)).place
        name = place.branch.name
        try:
            found = await self._node.call(name, GetPartitions(), timeout_s=ANSWER_S)
        except UnknownMessage:
            found = None
        if place.key or not isinstance(found, Partitions):
            raise CommandRefused(f"{place.path} has no partitions")
        slots = len(moves(found.count, message.count))
        steps = tuple(steps_of(place.branch, found.count, message.count, slots))
        return PartitionsPlan(place.path, name, found.count, message.count, slots, steps)

    async def carry_out(self, plan: PartitionsPlan, within_s: float) -> PartitionsSet:
        """Do it. Raises Conflict, NoProcess (nothing has changed), CallTimeout (it goes on)."""
        answer = await self._node.call(plan.supervisor, SetPartitions(plan.count), timeout_s=within_s)
        if not isinstance(answer, PartitionsSet):
            raise UnknownMessage(f"{plan.supervisor} answered by {type(answer).__name__}")
        return answer


def steps_of(supervisor: Branch, before: int, count: int, slots: int) -> Iterator[Step]:
    """New partitions start, then users move, then partitions that have none left stop. Pure."""
    if before == count:
        return
    name, pids = supervisor.name, {child.path: child.pid for child in supervisor.children}

    def path(number: int) -> str:
        return f"{supervisor.path}/{partition_name(name, number)}"

    for number in range(before, count):
        yield Step("start", path(number), name)
    yield Step("move", supervisor.path, name, supervisor.pid, f"{slots} of {SLOTS} slots of users change hands")
    for number in range(count, before):
        yield Step("stop", path(number), name, pids.get(path(number)))
