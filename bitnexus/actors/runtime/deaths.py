"""Why a process of the node has ended, for whoever wants to know: Erlang's ``monitor``, by name.

The death itself is heard of at once, by the connection that breaks (`Node.monitor` has no more than that). The reason
is known to the supervisor of the dead, which buries it: it is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, Final

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Message, ProcessInfo
from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.reasons import NOPROC, ExitReason
from bitnexus.errors import BitNexusError, Overloaded

#: How long a supervisor is waited for that has not noticed the death yet.
_REASON_WITHIN_S: Final = 1.0
#: So many of its dead a supervisor can tell of.
MOST: Final = 1_000


class GetExit(Message, frozen=True, tag="GetExit/1"):
    """Ask a supervisor why the child with this `pid` ended; answered by :class:`Exited` when it has been buried."""

    is_control: ClassVar[bool] = True

    pid: int


class Exited(Message, frozen=True, tag="Exited/1"):
    """`reason` is an encoded reasons.ExitReason; ``noproc`` if no such child is known."""

    is_control: ClassVar[bool] = True

    reason: list[str]


@dataclass(frozen=True, slots=True)
class Down:
    """The process that held `name` is dead; `pid` is 0, and the reason ``noproc``, if there was none."""

    name: str
    pid: int
    reason: ExitReason


class Dead:
    """What a supervisor knows of its dead, and who waits to hear of it."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[int, ExitReason] = OrderedDict()
        self._waiting: dict[int, list[Context]] = {}

    def asked(self, pid: int, context: Context, *, is_alive: bool) -> None:
        """Answer, now or at its burial. Raises Overloaded.

        The kernel uses numbers again: whoever `is_alive` is not the dead of that number.
        """
        if is_alive:
            waiting = self._waiting.setdefault(pid, [])
            if len(waiting) >= MOST:
                raise Overloaded("too many wait for the end of this process")
            waiting.append(context)
        else:
            context.reply(_exited(self._reasons.get(pid, NOPROC)))

    def buried(self, pid: int, reason: ExitReason) -> None:
        """This child has ended for this reason."""
        self._reasons[pid] = reason
        self._reasons.move_to_end(pid)
        if len(self._reasons) > MOST:
            self._reasons.popitem(last=False)
        for context in self._waiting.pop(pid, ()):
            context.reply(_exited(reason))


def _exited(reason: ExitReason) -> Exited:
    return Exited(list(reason.encode()))


async def down(node: Node, name: str) -> Down:
    """Wait for the death of the process that holds `name` now; at once if nobody does. It is told exactly once.

    The reason is ``noproc``, too, if the supervisor died with it: there is nobody left who knows.
    """
    info = node.whereis(name)
    if info is None:
        return Down(name, 0, NOPROC)
    ended: asyncio.Future[None] = node.loop.create_future()
    forget = node.monitor(name, on_down=lambda _: None if ended.done() else ended.set_result(None))
    try:
        await ended
    finally:
        forget()
    return Down(name, info.pid, await _reason_of(node, info))


async def _reason_of(node: Node, dead: ProcessInfo) -> ExitReason:
    above, _, _ = dead.path.rpartition("/")
    supervisor = above.rpartition("/")[2]
    if not supervisor:  # the root: whoever launched it is no process of the node
        return NOPROC
    try:
        answer = await node.call(supervisor, GetExit(dead.pid), timeout_s=_REASON_WITHIN_S)
    except BitNexusError:  # it is dead, too, or hangs
        return NOPROC
    assert isinstance(answer, Exited), answer
    return ExitReason.decode(answer.reason)
