"""Which partition serves a key: a stable hash into slots, a table of slots. Pure.

Keys fall into :data:`SLOTS` slots; a table says which partition owns each slot. The table is a function of the number
of partitions alone, so that everybody who knows the number agrees. It is balanced to one slot, and from P to P + 1
partitions only slots of the new one change hands: 1 / (P + 1) of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

SLOTS: Final = 1024


def slot_of(key: str) -> int:
    """The slot of a key: the same in every process, version and run."""
    return crc32(key.encode()) % SLOTS


@lru_cache(maxsize=64)
def table_of(partitions: int) -> tuple[int, ...]:
    """The owner of each slot, for this number of partitions, 1 to SLOTS."""
    assert 0 < partitions <= SLOTS, partitions
    owners = [0] * SLOTS
    owned = [SLOTS]
    for newcomer in range(1, partitions):
        owned.append(0)
        # One from whoever has most, in turn: the slots are taken from all over the table.
        for step in range(SLOTS // (newcomer + 1)):
            giver = max(range(newcomer), key=lambda partition: (owned[partition], (partition + step) % newcomer))
            slot = _nth_owned(owners, giver, step * 7919)
            owners[slot] = newcomer
            owned[giver] -= 1
            owned[newcomer] += 1
    return tuple(owners)


def _nth_owned(owners: list[int], partition: int, number: int) -> int:
    slots = [slot for slot, owner in enumerate(owners) if owner == partition]
    return slots[number % len(slots)]


def moves(before: int, after: int) -> dict[int, tuple[int, int]]:
    """The slots that change hands between two numbers of partitions: slot -> (from, to)."""
    pairs = enumerate(zip(table_of(before), table_of(after), strict=True))
    return {slot: (old, new) for slot, (old, new) in pairs if old != new}


class Routes:
    """One router's view: the name of whom to call for each slot.

    `names` is indexed by :func:`slot_of` and changed in place, so that whoever routes keeps the list itself. A slot
    that is held has a name that nobody has or can have: calls to it wait.
    """

    def __init__(self, supervisor: str) -> None:
        self._partition = supervisor
        self._moving = [f"{supervisor}/{slot}" for slot in range(SLOTS)]  # "/" is in no process's name
        self.names = list(self._moving)
        self._held_from: dict[int, str] = {}

    def of(self, key: str) -> str:
        """Whom to call for a key."""
        return self.names[slot_of(key)]

    def is_route(self, name: str) -> bool:
        """Whether `name` can be one of these: a partition's, or a held slot's."""
        return name.startswith((f"{self._partition}-", f"{self._partition}/"))

    def is_partition(self, name: str) -> bool:
        """Whether `name`, one of these, is that of a partition."""
        return name.startswith(f"{self._partition}-")

    def owner_name(self, partition: int) -> str:
        """The name of a partition."""
        return partition_name(self._partition, partition)

    def hold_all(self) -> None:
        """Nothing is known any more: everything waits."""
        self.names[:] = self._moving
        self._held_from.clear()

    def hold(self, slots: Sequence[int]) -> set[str]:
        """Hold these; whom they went to before: what was sent there must have arrived before the slots are drained.

        For a slot that is held already: whom it went to before that.
        """
        for slot in slots:
            name = self.names[slot]
            if name != self._moving[slot]:
                self._held_from[slot] = name
                self.names[slot] = self._moving[slot]
        return {self._held_from[slot] for slot in slots if slot in self._held_from}

    def release(self, slot: int, partition: int) -> str:
        """The slot's owner is this partition now; the name under which calls have waited for it."""
        self.names[slot] = self.owner_name(partition)
        self._held_from.pop(slot, None)
        return self._moving[slot]


@lru_cache(maxsize=1024)
def partition_name(supervisor: str, number: int) -> str:
    """The name of a partition: its supervisor's, with its number."""
    return f"{supervisor}-{number}"


def partition_number(supervisor: str, name: str) -> int | None:
    """The number in a partition's name, or None for another name."""
    prefix, _, number = name.rpartition("-")
    return int(number) if prefix == supervisor and number.isdecimal() else None
