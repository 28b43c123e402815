"""A partition: which slots are its own, and how it gives some away: it finishes their keys' work, then forgets them.

A key that is not its own has no actor here, and gets none: whoever sends for it hears Moved. So no key has actors in
two partitions, whatever their senders believe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any, Final

import structlog

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.light import LightActors
from bitnexus.actors.runtime.message import Done
from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.errors import Moved, RuntimeFault
from bitnexus.supervision.partition_messages import DrainSlots, Fence, GetSlots, OwnSlots, Slots
from bitnexus.supervision.slots import SLOTS, slot_of

ASK_TIMEOUT_S: Final = 10.0
#: Keys looked at before the loop gets the word.
_SLICE: Final = 5_000
_POLL_S: Final = 0.002

log = structlog.get_logger("bitnexus.partitions")


class PartitionSlots:
    """Of the partition `name`, whose keys have their actors in `actors`: it is told what it may activate."""

    def __init__(self, node: Node, name: str, actors: LightActors[Any, Any, Any, Any]) -> None:
        self._node = node
        self._name = name
        self._actors = actors
        self._own = bytearray(b"\1" * SLOTS)
        actors.may_activate = self._check

    async def ask(self, supervisor: str | None) -> None:
        """Ask which slots are its own; without a supervisor to ask, all are."""
        if supervisor is None:
            return
        answer = await self._node.call(supervisor, GetSlots(self._name), timeout_s=ASK_TIMEOUT_S, retry=True)
        if not isinstance(answer, Slots):
            raise RuntimeFault(f"{supervisor} answered by {type(answer).__name__}")
        self._own = bytearray(SLOTS)
        self.add(answer.slots)

    def owns(self, key: str) -> bool:
        """Whether this key is its own."""
        return bool(self._own[slot_of(key)])

    def add(self, slots: Iterable[int]) -> None:
        """These are its own, too."""
        for slot in slots:
            self._own[slot] = 1

    async def drain(self, slots: Collection[int], *, within_s: float) -> None:
        """These are its own no more: return when no actor of theirs is left. What takes longer is killed."""
        for slot in slots:
            self._own[slot] = 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        left = await self._keys_of(frozenset(slots))
        while left:
            for key in left:
                self._actors.retire(key)  # each time: one that crashed meanwhile is a new one
            left = [key for key in left if key in self._actors]
            if left and loop.time() > deadline:
                log.warning("drain_cut", partition=self._name, keys=len(left))
                for key in left:
                    self._actors.kill(key)
            if left:
                await asyncio.sleep(_POLL_S)

    async def _keys_of(self, slots: frozenset[int]) -> list[str]:
        found = []
        keys = self._actors.keys()  # none can come while the loop has the word: they may not be activated
        for start in range(0, len(keys), _SLICE):
            found += [key for key in keys[start : start + _SLICE] if slot_of(key) in slots]
            await asyncio.sleep(0)
        return found

    def _check(self, key: str) -> None:
        if not self._own[slot_of(key)]:
            raise Moved


class PartitionWorker(Process):
    """Base of a partition: a process with light actors that a partition supervisor can give slots and take them.

    Args: `supervisor`, the name of the partition supervisor; without, all keys are its own.
    """

    slots: PartitionSlots
    _drain_within_s: float

    async def share(self, actors: LightActors[Any, Any, Any, Any], *, drain_within_s: float) -> None:
        """To be called by `init`: learn which keys are its own. What a drain does not finish in time is killed."""
        self._drain_within_s = drain_within_s
        self.slots = PartitionSlots(self.node, self.name, actors)
        await self.slots.ask(self.args.get("supervisor"))

    @handles(Fence)
    def _fence(self, message: Fence, context: Context) -> Done:  # noqa: ARG002 - its place in the row is what counts
        return Done()

    @handles(OwnSlots)
    def _own_slots(self, message: OwnSlots, context: Context) -> Done:  # noqa: ARG002 - of the supervisor
        self.slots.add(message.slots)
        return Done()

    @handles(DrainSlots)
    async def _drain_slots(self, message: DrainSlots, context: Context) -> Done:  # noqa: ARG002 - of the supervisor
        await self.slots.drain(message.slots, within_s=self._drain_within_s)
        return Done()
