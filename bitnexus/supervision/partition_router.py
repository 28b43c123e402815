"""What a process needs to send messages to partitions: whom to call for which key, as it changes.

    self._router = PartitionRouter(self.node, self.name, "transactions", key_of)     # in init
    self._router.start()

    @handles(MoveSlots)
    def move(self, message, context):
        self._router.move(message, context)

    await self.node.call(self._router.names[slot_of(key)], message, retry=True)

`names` always has a name to call: that of a partition, or while a slot is on the move one that nobody has, under which
the call waits in the node until the slot is released. So a call costs what it did without all this; it must be
repeatable (`retry`). One that is sent again, because its partition died or was not the right one any more, goes to
whoever owns its key by then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Done, Message, ProcessInfo
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BitNexusError, CallTimeout, NoProcess, Overloaded
from bitnexus.supervision.partition_messages import Fence, JoinPartitions, MoveSlots, PartitionTable
from bitnexus.supervision.slots import Routes

FENCE_TIMEOUT_S: Final = 30.0
JOIN_TIMEOUT_S: Final = 5.0
#: After this a join that failed is tried again.
AGAIN_S: Final = 0.1

#: The key by which a message is routed; None for one that is not routed, but meant for the very process it was sent to.
KeyOf = Callable[[Message], str | None]

log = structlog.get_logger("bitnexus.partitions")


class PartitionRouter:
    """Of the process called `own_name`, for the partitions of `supervisor`; one in a process."""

    def __init__(self, node: Node, own_name: str, supervisor: str, key_of: KeyOf) -> None:
        self._node = node
        self._own_name = own_name
        self._supervisor = supervisor
        self._key_of = key_of
        self._routes = Routes(supervisor)
        #: By :func:`bitnexus.supervision.slots.slot_of`; changed in place.
        self.names = self._routes.names
        self._ticket = 0
        self._number = 0
        self._instance = ""  # of the supervisor that was joined, or is being joined

    def of(self, key: str) -> str:
        """Whom to call for a key."""
        return self._routes.of(key)

    def start(self) -> None:
        """Join the supervisor as soon as it is there, and whenever it is there again; until then calls wait."""
        self._node.reroute = self._reroute
        self._node.monitor(self._supervisor, self._up, self._down)

    # -- the supervisor --------------------------------------------------------------------------------------

    def _up(self, info: ProcessInfo) -> None:
        self._instance = info.instance
        self._join(info.instance)

    def _down(self, info: ProcessInfo) -> None:  # noqa: ARG002 - whoever it was
        # Its partitions are dead, or about to be. Another one may begin with another number of them.
        self._instance = ""
        self._ticket = 0
        partitions = {name for name in self.names if self._routes.is_partition(name)}
        self._routes.hold_all()
        for name in partitions:
            # What is under way to them waits, too, and before what will be sent from now on.
            self._node.disconnect(name, "its supervisor is gone")
            self._node.send_waiting(name)

    def _join(self, instance: str) -> None:
        if instance == self._instance:  # else another supervisor has come meanwhile, and is joined
            joined = partial(self._joined, instance)
            self._node.request(self._supervisor, JoinPartitions(self._own_name), joined, timeout_s=JOIN_TIMEOUT_S)

    def _joined(self, instance: str, answer: Message | BitNexusError) -> None:
        if instance != self._instance:
            return
        if not isinstance(answer, PartitionTable):
            log.warning("partitions_not_joined", answer=str(answer))
            self._node.loop.call_later(AGAIN_S, self._join, instance)
            return
        self._ticket, self._number = answer.ticket, 0
        held = set(answer.held)
        for slot, owner in enumerate(answer.owners):
            if slot not in held:
                self._release(slot, owner)

    # -- moves -----------------------------------------------------------------------------------------------

    def move(self, message: MoveSlots, context: Context) -> None:
        """Take a supervisor's word; answers it when what was sent before has arrived."""
        if message.ticket != self._ticket:
            context.fail(NoProcess(f"{self._own_name} has not joined yet"))
            return
        if message.number > self._number:
            self._number = message.number
            for slot, partition in message.released:
                self._release(slot, partition)
        _Fences(self._node, context, self._routes.hold(message.held)).send()

    def _release(self, slot: int, partition: int) -> None:
        self._node.send_waiting(self._routes.release(slot, partition))

    def _reroute(self, name: str, message: Message) -> str:
        if not self._routes.is_route(name):
            return name
        key = self._key_of(message)
        return name if key is None else self._routes.of(key)


class _Fences:
    """One message to each of some partitions, behind all that was sent to it; answers `context` when all are there."""

    def __init__(self, node: Node, context: Context, owners: set[str]) -> None:
        self._node = node
        self._context = context
        self._waiting = set(owners)

    def send(self) -> None:
        for owner in list(self._waiting):
            self._send(owner)
        self._answer_if_done()

    def _send(self, owner: str) -> None:
        if self._context.expired:
            return  # the supervisor has asked again, or is gone
        try:
            self._node.request(owner, Fence(), partial(self._answered, owner), timeout_s=FENCE_TIMEOUT_S)
        except Overloaded:
            self._node.loop.call_later(AGAIN_S, self._send, owner)

    def _answered(self, owner: str, answer: Message | BitNexusError) -> None:
        if isinstance(answer, CallTimeout):
            return  # nothing is known: the supervisor will ask again
        # Done or refused, it has arrived. Or its partition is dead: then what was sent to it is sent again, to where it
        # belongs by then.
        self._waiting.discard(owner)
        self._answer_if_done()

    def _answer_if_done(self) -> None:
        if not self._waiting and not self._context.answered:
            self._context.reply(Done())
