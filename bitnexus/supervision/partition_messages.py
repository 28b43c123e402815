"""What a partition supervisor, its partitions and its routers say to each other (see partition_supervisor.py).

Slots are numbers as of :func:`bitnexus.supervision.slots.slot_of`. All of these are internal to the node. But for the
Fence they are control messages: an overload, which more partitions may be the cure for, does not keep them out.
"""

from __future__ import annotations

from typing import ClassVar

from bitnexus.actors.runtime.message import Message

# -- routers: whoever sends messages to partitions -----------------------------------------------------------


class JoinPartitions(Message, frozen=True, tag="JoinPartitions/1"):
    """Router → supervisor: tell me whom to send to. `router` is its name; it joins for the life of this connection.

    Answered by :class:`PartitionTable`; from then on it gets :class:`MoveSlots`.
    """

    is_control: ClassVar[bool] = True

    router: str


class PartitionTable(Message, frozen=True, tag="PartitionTable/1"):
    """The partition that owns each slot, and the slots that are held; `ticket` marks the MoveSlots that follow."""

    is_control: ClassVar[bool] = True

    ticket: int
    owners: list[int]
    held: list[int]


class MoveSlots(Message, frozen=True, tag="MoveSlots/1"):
    """Supervisor → router: first release slots to their new owners, then hold others.

    Answered by Done when what was sent before for the slots now held has arrived. Repeated under its `number` until it
    is answered; one follows on another. NoProcess: the router has not joined under this ticket.
    """

    is_control: ClassVar[bool] = True

    ticket: int
    number: int
    released: list[tuple[int, int]]  # slot, partition
    held: list[int]


class Fence(Message, frozen=True, tag="Fence/1"):
    """Router → partition: answered behind everything that was sent before it, in whose lane it travels."""


# -- partitions ----------------------------------------------------------------------------------------------


class GetSlots(Message, frozen=True, tag="GetSlots/1"):
    """Partition → supervisor, before it serves: which slots are mine? Answered by :class:`Slots`."""

    is_control: ClassVar[bool] = True

    partition: str


class Slots(Message, frozen=True, tag="Slots/1"):
    """The slots of one partition."""

    is_control: ClassVar[bool] = True

    slots: list[int]


class OwnSlots(Message, frozen=True, tag="OwnSlots/1"):
    """Supervisor → partition: these are yours, too, from now on. Answered by Done."""

    is_control: ClassVar[bool] = True

    slots: list[int]


class DrainSlots(Message, frozen=True, tag="DrainSlots/1"):
    """Supervisor → partition: these are yours no more. Answered by Done when nothing of them is left in work."""

    is_control: ClassVar[bool] = True

    slots: list[int]
