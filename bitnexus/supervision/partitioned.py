"""Which partition serves a key, and how that changes at run time without losing a message. Pure; no process yet.

Keys fall into :data:`SLOTS` slots by a stable hash; a table says which partition owns each slot. The table is a
function of the number of partitions alone, so that everybody who knows the number agrees. It is balanced to one slot,
and from P to P + 1 partitions only slots of the new one change hands: 1 / (P + 1) of all.

A resize moves one slot after another, at most :data:`MOVES` at a time. The slot's state:

    owned ──hold──▶ held ──every router holds──▶ drained by its old owner ──▶ owned by the new one

1. *Hold*: every router keeps new messages for the slot back.
2. *Drain*: when all have said so, nothing new is under way to the old owner. It answers when it has finished the
   slot's messages, which came before on the same connections.
3. *Release*: routers send what they kept, in order, to the new owner.

So a key is never served by two partitions at a time, its messages keep their order, and none is lost. A partition
that dies while it drains has nothing left to finish: callers repeat what it had not answered. A router that dies takes
what it kept with it, as it does with everything in it; one that joins is told what is held.

:class:`Resize` decides (there is one, beside the partitions' supervisor), :class:`Router` keeps the messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeAlias, TypeVar
from zlib import crc32

SLOTS: Final = 1024
#: Slots on the move at the same time: their users wait meanwhile.
MOVES: Final = 16

T = TypeVar("T")  # messages
RouterName: TypeAlias = Hashable


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


# -- what a resize wants done, and is told ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartPartition:
    """Start this partition; `up` follows, or `start_failed`."""

    partition: int


@dataclass(frozen=True, slots=True)
class StopPartition:
    """It owns nothing any more."""

    partition: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Tell this router to keep messages for the slot back; `holds` follows."""

    router: RouterName
    slot: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell the partition to finish what it has for the slot and forget it; `drained` follows, or `down`."""

    partition: int
    slot: int


@dataclass(frozen=True, slots=True)
class Release:
    """Tell this router that the slot's owner is now that partition: it sends what it kept."""

    router: RouterName
    slot: int
    partition: int


@dataclass(frozen=True, slots=True)
class Resized:
    """Every slot is where the new table says."""

    partitions: int


Step: TypeAlias = StartPartition | StopPartition | Hold | Drain | Release | Resized


@dataclass(slots=True)
class _Move:
    old: int
    new: int
    waiting: set[RouterName]  # for these to hold
    is_draining: bool = False


class Resize:
    """The owners of all slots, and the change of their number that is under way, if one is."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.owners = list(table_of(partitions))
        self._target: int | None = None
        self._routers: set[RouterName] = set()
        self._starting: set[int] = set()
        self._to_move: deque[int] = deque()
        self._moving: dict[int, _Move] = {}

    @property
    def is_under_way(self) -> bool:
        """A resize has begun and not ended."""
        return self._target is not None

    def begin(self, partitions: int) -> list[Step]:
        """Change the number of partitions. Raises ValueError while another change is under way."""
        if self._target is not None:
            raise ValueError(f"a resize to {self._target} partitions is under way")
        table = table_of(partitions)
        self._target = partitions
        self._to_move = deque(slot for slot in range(SLOTS) if self.owners[slot] != table[slot])
        self._starting = set(range(self.partitions, partitions))
        return [StartPartition(number) for number in sorted(self._starting)] + self._advance()

    def up(self, partition: int) -> list[Step]:
        """A partition that was to be started serves."""
        self._starting.discard(partition)
        return self._advance()

    def start_failed(self) -> list[Step]:
        """A new partition does not start: all that were to be new are given up; no slot has moved yet."""
        assert self._target is not None
        assert not self._moving
        given_up = range(self.partitions, self._target)
        self._target = None
        self._starting.clear()
        self._to_move.clear()
        return [StopPartition(number) for number in given_up]

    def joined(self, router: RouterName) -> list[Step]:
        """A new router, which knows `owners`, is to be told what is held."""
        self._routers.add(router)
        # Those that drain already wait for nobody; this one has sent nothing yet, but it must not begin to.
        return [Hold(router, slot) for slot in self._moving]

    def left(self, router: RouterName) -> list[Step]:
        """A router has gone: nobody waits for it any longer."""
        self._routers.discard(router)
        steps: list[Step] = []
        for slot in list(self._moving):
            steps += self._has_held(slot, router)
        return steps

    def holds(self, router: RouterName, slot: int) -> list[Step]:
        """A router has kept back every message for the slot since it was asked to."""
        return self._has_held(slot, router)

    def drained(self, partition: int, slot: int) -> list[Step]:
        """The old owner has finished the slot's messages."""
        move = self._moving.get(slot)
        if move is None or not move.is_draining or move.old != partition:
            return []
        return self._handed_over(slot, move)

    def down(self, partition: int) -> list[Step]:
        """A partition has died: what it was to finish for its slots has died with it."""
        steps: list[Step] = []
        for slot, move in list(self._moving.items()):
            if move.is_draining and move.old == partition:
                steps += self._handed_over(slot, move)
        return steps

    def _has_held(self, slot: int, router: RouterName) -> list[Step]:
        move = self._moving.get(slot)
        if move is None or router not in move.waiting:
            return []
        move.waiting.discard(router)
        return self._drain_if_held(slot, move)

    def _drain_if_held(self, slot: int, move: _Move) -> list[Step]:
        if move.waiting or move.is_draining:
            return []
        move.is_draining = True
        return [Drain(move.old, slot)]

    def _handed_over(self, slot: int, move: _Move) -> list[Step]:
        del self._moving[slot]
        self.owners[slot] = move.new
        releases: list[Step] = [Release(router, slot, move.new) for router in sorted(self._routers, key=repr)]
        return releases + self._advance()

    def _advance(self) -> list[Step]:
        if self._target is None or self._starting:
            return []
        steps: list[Step] = []
        table = table_of(self._target)
        while self._to_move and len(self._moving) < MOVES:
            slot = self._to_move.popleft()
            move = self._moving[slot] = _Move(self.owners[slot], table[slot], set(self._routers))
            steps += [Hold(router, slot) for router in sorted(self._routers, key=repr)]
            steps += self._drain_if_held(slot, move)
        if not self._moving:
            steps += [StopPartition(number) for number in range(self._target, self.partitions)]
            steps.append(Resized(self._target))
            self.partitions, self._target = self._target, None
        return steps


class Router(Generic[T]):
    """One router's view: where each message goes now, or that it waits. At most `bound` wait in all."""

    def __init__(self, owners: Iterable[int], bound: int) -> None:
        self._owners = list(owners)
        self._bound = bound
        self._held: dict[int, list[tuple[str, T]]] = {}
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many messages are kept back."""
        return self._count

    def route(self, key: str, message: T) -> int | None:
        """The partition to send it to; None: it is kept. Raises OverflowError, before any effect, if too many are."""
        slot = slot_of(key)
        held = self._held.get(slot)
        if held is None:
            return self._owners[slot]
        if self._count >= self._bound:
            raise OverflowError("too many messages wait for partitions on the move")
        held.append((key, message))
        self._count += 1
        return None

    def hold(self, slot: int) -> None:
        """Keep messages for the slot back from now on; say so behind everything that was sent before."""
        self._held.setdefault(slot, [])

    def release(self, slot: int, partition: int) -> list[tuple[str, T]]:
        """The slot has a new owner: what is to be sent to it now, in order, before anything else."""
        self._owners[slot] = partition
        kept = self._held.pop(slot, [])
        self._count -= len(kept)
        return kept
