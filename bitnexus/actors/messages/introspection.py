"""What a node tells of itself: the ledger's head and checkpoint, and its partitions."""

from __future__ import annotations

from bitnexus.actors.runtime.message import Message
from bitnexus.principal import Principal


class GetCheckpoint(Message, frozen=True, tag="GetCheckpoint/1"):
    """Ask the ledger to sign its tree; answered by :class:`SignedCheckpoint`, or CheckpointRefused."""


class SignedCheckpoint(Message, frozen=True, tag="SignedCheckpoint/1"):
    """A C2SP checkpoint, and the verifier key to check it with."""

    note: str
    verifier_key: str


class GetHead(Message, frozen=True, tag="GetHead/1"):
    """Ask the ledger for its head; answered by :class:`Head`."""

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """Whoever has the cookie."""
        return True


class Head(Message, frozen=True, tag="Head/1"):
    """The newest committed block; hashes in hex."""

    height: int
    tree_size: int
    tree_root: str
    block_hash: str


class GetPartitions(Message, frozen=True, tag="GetPartitions/2"):
    """Ask a partition supervisor, ``transactions``, which partition serves whom; answered by :class:`Partitions`."""

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """Whoever has the cookie."""
        return True


class Partitions(Message, frozen=True, tag="Partitions/2"):
    """How many partitions share the users, and the number of the one that owns each slot.

    Slots are those of :func:`bitnexus.supervision.slots.slot_of`. While the number is being changed, the table is
    between the two; it may be out of date when it arrives: who asks the wrong partition hears Moved.
    """

    count: int
    owners: list[int]


class SetPartitions(Message, frozen=True, tag="SetPartitions/1"):
    """Have a partition supervisor change the number of its partitions, 1 to 256, while everything goes on.

    Answered by :class:`PartitionsSet` when it is done; it goes on when nobody waits for that. Conflict while another
    change is under way, NoProcess when a new partition does not start: then nothing has changed. Operators send
    operator_messages.ChangePartitions, which leaves a record.
    """

    count: int


class PartitionsSet(Message, frozen=True, tag="PartitionsSet/1"):
    """There are `count` partitions; `slots` of 1024 changed hands, in `seconds`."""

    before: int
    count: int
    slots: int
    seconds: float
