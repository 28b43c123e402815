"""The commands that only look: tree, top, state, history, trace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.actors.messages import GetPartitions, Partitions
from bitnexus.actors.operator_messages import (
    MAX_TRACE,
    MAX_TRACE_S,
    SORTS,
    ExitShown,
    HistoryShown,
    MessagesTraced,
    ShowHistory,
    ShowState,
    ShowTop,
    ShowTree,
    StateShown,
    TraceMessages,
    TreeShown,
)
from bitnexus.actors.runtime.inspection_messages import GetState, MailboxTraced, Scalar, StateSummary, TraceMailbox
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BadRequest, CommandRefused, NotFound, RuntimeFault, UnknownMessage, UnknownPath
from bitnexus.operations.rows import actor_rows, busiest, rows
from bitnexus.operations.survey import Gauges, survey
from bitnexus.operations.tree import Branch, Place, find
from bitnexus.supervision.inspection_messages import (
    Ends,
    GetEnds,
    GetLightActor,
    GetLightActors,
    LightActorReport,
    LightActorsReport,
)
from bitnexus.supervision.slots import partition_name, slot_of

ANSWER_S: Final = 2.0
MAX_ROWS: Final = 500
MAX_TOP_S: Final = 10.0
#: A process that is stopping or hangs does not answer, and is shown all the same.
_ALIVE: Final = ("running", "suspended")

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Located:
    """A place in the tree `root`; `actor` is the light actor that is meant, if one is."""

    root: Branch
    place: Place
    actor: LightActorReport | None


class Looking:
    """Everything that operators can see; all of it raises UnknownPath, and RuntimeFault when nobody answers."""

    def __init__(self, node: Node, root_name: str) -> None:
        self._node = node
        self._root_name = root_name

    async def locate(self, path: str) -> Located:
        """What a path leads to, if it is there, in the tree of this moment."""
        root = await survey(self._node, self._root_name)
        try:
            place = find(root, path)
            return Located(root, place, await self._actor(place) if place.key else None)
        except UnknownPath as error:
            owner = await self._owner_of(root, path.strip("/"))
            if owner is None:
                raise
            raise UnknownPath(f"There is no {path.strip('/')!r}; did you mean {owner}?") from error

    async def _owner_of(self, root: Branch, path: str) -> str | None:
        """The path of a user's actor, for one that names the user at a wrong place: partitions change."""
        parent, _, key = path.rpartition("/")
        if not canonical_uuid(key):
            return None
        supervisors = {each.path: each for each in root.all() if each.kind == "supervisor" and each.status in _ALIVE}
        supervisor = supervisors.get(parent) or supervisors.get(parent.rpartition("/")[0])
        if supervisor is None:
            return None
        try:
            known = await self._ask(supervisor.name, GetPartitions(), Partitions)
        except UnknownMessage:
            return None  # its children are no partitions
        return f"{supervisor.path}/{partition_name(supervisor.name, known.owners[slot_of(key)])}/{key}"

    async def _actor(self, place: Place) -> LightActorReport:
        branch = place.branch
        if branch.status not in _ALIVE:
            raise UnknownPath(f"{branch.path} is {branch.status}: nothing is known of what is in it")
        if (await self._light_actors_of(branch)) is None:
            raise UnknownPath(f"There is no {place.path!r}: {branch.path} has nothing below it")
        try:
            return await self._ask(branch.name, GetLightActor(place.key), LightActorReport)
        except NotFound as error:
            raise UnknownPath(f"There is no {place.path!r}: {error.detail}") from error

    async def tree(self, message: ShowTree) -> TreeShown:
        """See the message."""
        found_at = await self.locate(message.path)
        branch = found_at.place.branch
        if found_at.actor is not None:
            return TreeShown(actor_rows(branch.path, [found_at.actor]))
        found = rows(branch, Gauges(_pids(branch)))
        limit = min(max(message.actors, 0), MAX_ROWS)
        if branch.kind == "worker" and limit and await self._light_actors_of(branch) is not None:
            report = await self._ask(branch.name, GetLightActors(limit), LightActorsReport)
            found += actor_rows(branch.path, report.actors)
        return TreeShown(found)

    async def top(self, message: ShowTop) -> TreeShown:
        """See the message."""
        if message.sort not in SORTS:
            raise BadRequest(f"There is no order by {message.sort!r}: it is one of {', '.join(SORTS)}")
        branch = (await self.locate(message.path)).place.branch
        limit, for_s = min(max(message.limit, 1), MAX_ROWS), min(max(message.for_s, 0.05), MAX_TOP_S)
        if branch.kind == "worker" and await self._light_actors_of(branch) is not None:
            asked = GetLightActors(limit, for_s)
            report = await self._ask(branch.name, asked, LightActorsReport, timeout_s=for_s + ANSWER_S)
            return TreeShown(actor_rows(branch.path, report.actors))
        gauges = Gauges(_pids(branch))
        await asyncio.sleep(for_s)
        return TreeShown(busiest(rows(branch, gauges, with_cpu=True), message.sort, limit))

    async def state(self, message: ShowState) -> StateShown:
        """See the message."""
        found = await self.locate(message.path)
        place, actor = found.place, found.actor
        if actor is not None:
            fields: dict[str, Scalar] = {
                "status": actor.status,
                "waiting": actor.waiting,
                "restarts": actor.restarts,
                "last_exit": actor.last_exit or None,
                **actor.summary,
            }
            return StateShown(place.path, fields)
        (row,) = rows(_alone(place.branch), Gauges(_pids(place.branch)))
        fields = {
            "status": row.status,
            "pid": row.pid,
            "uptime_s": None if row.uptime_s is None else round(row.uptime_s, 3),
            "memory": row.memory,
            "restarts": row.restarts,
            "last_exit": row.last_exit or None,
        }
        if place.branch.status in _ALIVE:
            fields |= (await self._ask(place.branch.name, GetState(), StateSummary)).fields
        return StateShown(place.path, fields)

    async def history(self, message: ShowHistory) -> HistoryShown:
        """See the message."""
        place = (await self.locate(message.path)).place
        found: list[ExitShown] = []
        if place.key:
            found += await self._ends(place.branch, place.key)
        else:
            if place.parent is not None:
                found += await self._ends(place.parent, place.branch.name)
            supervisors = [each for each in place.branch.all() if each.kind == "supervisor" and each.status in _ALIVE]
            for ends in await asyncio.gather(*(self._ends(each) for each in supervisors), return_exceptions=True):
                if isinstance(ends, RuntimeFault):
                    continue  # it went while it was looked at: so is its history
                if isinstance(ends, BaseException):
                    raise ends
                found += ends
        found.sort(key=lambda end: end.time_us, reverse=True)
        return HistoryShown(found[: min(max(message.limit, 1), MAX_ROWS)])

    async def trace(self, message: TraceMessages) -> MessagesTraced:
        """See the message."""
        if not (0 < message.count <= MAX_TRACE and 0 < message.within_s <= MAX_TRACE_S):
            raise BadRequest(f"A trace is of 1 to {MAX_TRACE} messages and takes {MAX_TRACE_S:g} s at most")
        place = (await self.locate(message.path)).place
        if place.branch.status not in _ALIVE:
            raise CommandRefused(f"{place.branch.path} is {place.branch.status}: it receives nothing")
        asked = TraceMailbox(message.count, message.within_s, place.key)
        traced = await self._ask(place.branch.name, asked, MailboxTraced, timeout_s=message.within_s + ANSWER_S)
        return MessagesTraced(place.path, traced.messages)

    async def _ends(self, branch: Branch, child: str = "") -> list[ExitShown]:
        found = await self._ask(branch.name, GetEnds(child), Ends)
        return [
            ExitShown(f"{branch.path}/{end.child}", end.time_us, end.reason, end.uptime_s, end.traceback)
            for end in found.ends
        ]

    async def _light_actors_of(self, branch: Branch) -> int | None:
        """How many are active in it; None: it is not one for them, or nobody knows just now."""
        if branch.status not in _ALIVE:
            return None
        fields = (await self._ask(branch.name, GetState(), StateSummary)).fields
        count = fields.get("light_actors")
        return count if isinstance(count, int) else None

    async def _ask(self, name: str, message: Message, wanted: type[M], *, timeout_s: float = ANSWER_S) -> M:
        answer = await self._node.call(name, message, timeout_s=timeout_s)
        if not isinstance(answer, wanted):
            raise UnknownMessage(f"{name} answered by {type(answer).__name__}")
        return answer


def _pids(branch: Branch) -> list[int]:
    return [each.pid for each in branch.all() if each.pid is not None]


def _alone(branch: Branch) -> Branch:
    return replace(branch, children=())
