"""How the number of partitions changes at run time without losing, doubling or reordering a message. Pure.

A resize moves one slot (see slots.py) after another, at most :data:`MOVES` at a time. The slot's state:

    owned ──hold──▶ held ──every router holds──▶ drained by its old owner ──▶ the new owner knows ──▶ owned

1. *Hold*: every router keeps new messages for the slot back.
2. *Drain*: when all have said so, nothing new is under way to the old owner. It answers when it has finished the
   slot's messages, which came before on the same connections, and takes none from then on.
3. *Own*: the new owner takes them.
4. *Release*: routers send what they kept, in order, to the new owner.

So a key is never served by two partitions at a time, its messages keep their order, and none is lost. A partition
that dies while it drains has nothing left to finish: callers repeat what it had not answered, and when every router has
said again that it holds, that waits, too, in its place. One that dies before it knows of its slots asks for them when
it is started again. A router that dies takes what it kept with it, as it does with everything in it; one that joins is
told what is held.

:class:`Resize` decides (there is one, in the partitions' supervisor), :class:`bitnexus.supervision.slots.Routes` is
what a router knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from bitnexus.supervision.slots import SLOTS, table_of

#: Slots on the move at the same time: their users wait meanwhile.
MOVES: Final = 64

RouterName: TypeAlias = Hashable


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
    """Tell this router to keep messages for the slot back; `holds` follows. It may hold already, and says so again."""

    router: RouterName
    slot: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell the partition to finish what it has for the slot and forget it; `drained` follows, or `down`."""

    partition: int
    slot: int


@dataclass(frozen=True, slots=True)
class Own:
    """Tell the partition that the slot is its own from now on; `owns` follows, or `down`."""

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


Step: TypeAlias = StartPartition | StopPartition | Hold | Drain | Own | Release | Resized


@dataclass(slots=True)
class Errands:
    """Steps by whom they are for: what goes to the same process goes in one message, in this order."""

    releases: dict[RouterName, list[tuple[int, int]]] = field(default_factory=dict)  # slot, partition
    holds: dict[RouterName, list[int]] = field(default_factory=dict)
    drains: dict[int, list[int]] = field(default_factory=dict)  # partition → slots
    owns: dict[int, list[int]] = field(default_factory=dict)  # likewise
    starts: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    is_resized: bool = False

    @property
    def routers(self) -> set[RouterName]:
        """Those who are to be told something."""
        return self.releases.keys() | self.holds.keys()


def errands_of(steps: Iterable[Step]) -> Errands:
    """The steps, sorted."""
    errands = Errands()
    for step in steps:
        match step:
            case Release(router, slot, partition):
                errands.releases.setdefault(router, []).append((slot, partition))
            case Hold(router, slot):
                errands.holds.setdefault(router, []).append(slot)
            case Drain(partition, slot):
                errands.drains.setdefault(partition, []).append(slot)
            case Own(partition, slot):
                errands.owns.setdefault(partition, []).append(slot)
            case StartPartition(partition):
                errands.starts.append(partition)
            case StopPartition(partition):
                errands.stops.append(partition)
            case Resized():
                errands.is_resized = True
    return errands


@dataclass(slots=True)
class _Move:
    old: int
    new: int
    waiting: set[RouterName] = field(default_factory=set)  # for these to hold
    phase: Literal["holding", "draining", "owning"] = "holding"


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

    def waits_for(self, partition: int, slots: Iterable[int]) -> bool:
        """Whether one of these is still to be drained by this partition, or to be known by it as its own."""
        moves = [move for move in map(self._moving.get, slots) if move is not None]
        return any((move.phase, partition) in (("draining", move.old), ("owning", move.new)) for move in moves)

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

    def joined(self, router: RouterName) -> list[int]:
        """A new router is to be told `owners` and, at the same time, what is held: these slots."""
        self._routers.add(router)
        return list(self._moving)  # nobody waits for it: it has sent nothing yet

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
        if move is None or move.phase != "draining" or move.old != partition:
            return []
        return [self._hand_over(slot, move)]

    def owns(self, partition: int, slot: int) -> list[Step]:
        """The new owner knows that it is."""
        move = self._moving.get(slot)
        if move is None or move.phase != "owning" or move.new != partition:
            return []
        return self._release(slot)

    def down(self, partition: int) -> list[Step]:
        """A partition has died: what it was to finish has died with it, and its successor asks what it owns."""
        steps: list[Step] = []
        for slot, move in list(self._moving.items()):
            if move.phase == "draining" and move.old == partition:
                # Routers have to notice, too: what was under way to it waits, before anything goes to the new owner.
                steps += self._hold(slot, move)
            elif move.phase == "owning" and move.new == partition:
                steps += self._release(slot)
        return steps

    def _hold(self, slot: int, move: _Move) -> list[Step]:
        move.phase, move.waiting = "holding", set(self._routers)
        holds: list[Step] = [Hold(router, slot) for router in sorted(self._routers, key=repr)]
        return holds + self._drain_if_held(slot, move)

    def _has_held(self, slot: int, router: RouterName) -> list[Step]:
        move = self._moving.get(slot)
        if move is None or router not in move.waiting:
            return []
        move.waiting.discard(router)
        return self._drain_if_held(slot, move)

    def _drain_if_held(self, slot: int, move: _Move) -> list[Step]:
        if move.waiting or move.phase != "holding":
            return []
        move.phase = "draining"
        return [Drain(move.old, slot)]

    def _hand_over(self, slot: int, move: _Move) -> Step:
        self.owners[slot] = move.new
        move.phase = "owning"
        return Own(move.new, slot)

    def _release(self, slot: int) -> list[Step]:
        del self._moving[slot]
        owner = self.owners[slot]
        releases: list[Step] = [Release(router, slot, owner) for router in sorted(self._routers, key=repr)]
        return releases + self._advance()

    def _advance(self) -> list[Step]:
        if self._target is None or self._starting:
            return []
        steps: list[Step] = []
        table = table_of(self._target)
        while self._to_move and len(self._moving) < MOVES:
            slot = self._to_move.popleft()
            move = self._moving[slot] = _Move(self.owners[slot], table[slot])
            steps += self._hold(slot, move)
        if not self._moving:
            steps += [StopPartition(number) for number in range(self._target, self.partitions)]
            steps.append(Resized(self._target))
            self.partitions, self._target = self._target, None
        return steps
