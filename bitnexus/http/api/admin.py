"""The operators' commands and their audit, for admins. The work is done by the process ``operations``."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from aiohttp import web
from pydantic import Field, StringConstraints

from bitnexus.actors import representation
from bitnexus.actors.operator_messages import (
    MAX_TRACE,
    MAX_TRACE_S,
    MAX_WITHIN_S,
    OPERATIONS,
    WITHIN_S,
    ChangePartitions,
    ChangeTree,
    ExitShown,
    HistoryShown,
    MessagesTraced,
    Operator,
    PartitionsChanged,
    ShowHistory,
    ShowState,
    ShowTop,
    ShowTree,
    StateShown,
    Step,
    TraceMessages,
    TreeChanged,
    TreeRow,
    TreeShown,
)
from bitnexus.actors.runtime.inspection_messages import TracedMessage
from bitnexus.actors.runtime.message import Message
from bitnexus.http.answers import expect
from bitnexus.http.pages import PageQuery, page
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.services import Services
from bitnexus.http.validation import Model, QueryModel
from bitnexus.storage import operator_commands
from bitnexus.storage.operator_commands import CommandRow

PATH: Final = "/api/v1/admin"
TREE: Final = PATH + "/tree"
#: What a command's answer may take to come back beyond the command's own time.
GRACE_S: Final = 5.0
_AUDIT: Final = "audit"

M = TypeVar("M", bound=Message)

#: A path of the tree: names joined by "/", no control characters.
TreePath = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=500)]


class PathQuery(QueryModel):
    """Which subtree; "" is the whole node."""

    path: TreePath = ""


class TreeQuery(PathQuery):
    """How many light actors of one process to show."""

    actors: Annotated[int, Field(ge=0, le=500)] = 20


class TopQuery(PathQuery):
    """By what to sort, how many, and for how long to look."""

    sort: Literal["cpu", "memory", "mailbox"] = "cpu"
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    for_s: Annotated[float, Field(ge=0.05, le=10)] = 0.5


class HistoryQuery(PathQuery):
    """How many ends."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50


class TraceQuery(PathQuery):
    """The next `count` messages of those that come within `within_s`."""

    count: Annotated[int, Field(ge=1, le=MAX_TRACE)] = 20
    within_s: Annotated[float, Field(gt=0, le=MAX_TRACE_S)] = 10.0


class CommandFields(Model):
    """What to do to which subtree."""

    verb: Literal["restart", "stop", "start", "suspend", "resume", "drain", "kill"]
    path: TreePath
    dry_run: bool = False
    within_s: Annotated[float, Field(gt=0, le=MAX_WITHIN_S, strict=False)] = WITHIN_S


class CreateCommand(Model):
    """The body of POST /admin/tree/commands."""

    command: CommandFields


class PartitionsFields(Model):
    """How many partitions to have below which partition supervisor."""

    count: Annotated[int, Field(ge=1, le=256)]
    path: TreePath
    dry_run: bool = False
    within_s: Annotated[float, Field(gt=0, le=MAX_WITHIN_S, strict=False)] = WITHIN_S


class ChangeOfPartitions(Model):
    """The body of POST /admin/tree/partitions."""

    partitions: PartitionsFields


class Admin:
    """The resource."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        admin = Access.ADMIN
        return [
            Route("GET", TREE, self.tree, "The supervision tree", access=admin, query=TreeQuery, timed=False),
            Route("GET", TREE + "/top", self.top, "The busiest", access=admin, query=TopQuery, timed=False),
            Route("GET", TREE + "/state", self.state, "A summary", access=admin, query=PathQuery, timed=False),
            Route(
                "GET", TREE + "/history", self.history, "The last ends", access=admin, query=HistoryQuery, timed=False
            ),
            Route("GET", TREE + "/trace", self.trace, "The next messages", access=admin, query=TraceQuery, timed=False),
            Route("POST", TREE + "/commands", self.change, "Do it", access=admin, body=CreateCommand, timed=False),
            Route(
                "POST",
                TREE + "/partitions",
                self.change_partitions,
                "Another number of partitions",
                access=admin,
                body=ChangeOfPartitions,
                timed=False,
            ),
            Route("GET", PATH + "/audit", self.audit, "What operators did", access=admin, query=PageQuery),
        ]

    async def tree(self, call: Call[None, TreeQuery]) -> web.Response:
        """The subtree, each process before its children."""
        asked = ShowTree(_operator(call), call.query.path, call.query.actors)
        return data([_row(row) for row in (await self._ask(asked, TreeShown)).rows])

    async def top(self, call: Call[None, TopQuery]) -> web.Response:
        """The subtree's processes, or the light actors of one, the busiest first."""
        query = call.query
        asked = ShowTop(_operator(call), query.path, query.sort, query.limit, query.for_s)
        return data([_row(row) for row in (await self._ask(asked, TreeShown, query.for_s)).rows])

    async def state(self, call: Call[None, PathQuery]) -> web.Response:
        """A summary of what one process, or light actor, knows."""
        shown = await self._ask(ShowState(_operator(call), call.query.path), StateShown)
        return data({"path": shown.path, "state": shown.fields})

    async def history(self, call: Call[None, HistoryQuery]) -> web.Response:
        """How the processes of the subtree ended, newest first."""
        asked = ShowHistory(_operator(call), call.query.path, call.query.limit)
        return data([_exit(end) for end in (await self._ask(asked, HistoryShown)).exits])

    async def trace(self, call: Call[None, TraceQuery]) -> web.Response:
        """The next messages: type, sender, size."""
        query = call.query
        asked = TraceMessages(_operator(call), query.path, query.count, query.within_s)
        shown = await self._ask(asked, MessagesTraced, query.within_s)
        return data({"path": shown.path, "messages": [_traced(message) for message in shown.messages]})

    async def change(self, call: Call[CreateCommand, None]) -> web.Response:
        """Carry a command out: 200 when it is over, 202 when it has only begun, or goes on."""
        fields = call.body.command
        asked = ChangeTree(
            _operator(call),
            fields.path,
            fields.verb,
            dry_run=fields.dry_run,
            within_s=fields.within_s,
            via=self._services.front,
        )
        changed = await self._ask(asked, TreeChanged, fields.within_s)
        shown = {
            "id": changed.command_id or None,
            "verb": fields.verb,
            "path": fields.path,
            "outcome": changed.outcome,
            "detail": changed.detail,
            "warnings": changed.warnings,
            "steps": [_step(step) for step in changed.steps],
        }
        return data(shown, status=202 if changed.outcome in ("begun", "unfinished") else 200)

    async def change_partitions(self, call: Call[ChangeOfPartitions, None]) -> web.Response:
        """Have another number of partitions, while everything goes on; or say what would be done."""
        asked = call.body.partitions
        message = ChangePartitions(
            _operator(call), asked.path, asked.count, dry_run=asked.dry_run, within_s=asked.within_s
        )
        done = await self._ask(message, PartitionsChanged, asked.within_s)
        shown = {
            "id": done.command_id or None,
            "outcome": done.outcome,
            "before": done.before,
            "count": done.count,
            "slots": done.slots,
            "seconds": done.seconds,
            "steps": [_step(step) for step in done.steps],
        }
        return data(shown)

    async def audit(self, call: Call[None, PageQuery]) -> web.Response:
        """The operators' commands, newest first."""
        services, query = self._services, call.query
        before: dict[str, Any] = {}
        if query.cursor is not None:
            before_us, before_id = services.cursors.decode(query.cursor, _AUDIT)
            before = {"before_us": before_us, "before_id": before_id}
        async with services.database.connection() as connection:
            found = await operator_commands.newest(connection, limit=query.limit + 1, **before)
        shown = found[: query.limit]
        last = shown[-1] if len(found) > len(shown) else None
        following = None if last is None else services.cursors.encode([last.begun_us, last.id], _AUDIT)
        return page(call.request, [_command(row) for row in shown], following=following, as_of_seq=None)

    async def _ask(self, message: Message, wanted: type[M], within_s: float = 0.0) -> M:
        services = self._services
        timeout_s = max(within_s + GRACE_S, services.call_timeout_s)
        return expect(wanted, await services.node.call(OPERATIONS, message, timeout_s=timeout_s))


def _operator(call: Call[Any, Any]) -> Operator:
    principal = call.principal
    return Operator(principal.user_id, principal.role, "", "http", call.request.remote or "")


def _step(step: Step) -> dict[str, Any]:
    return {"action": step.action, "path": step.path, "by": step.by, "pid": step.pid, "note": step.note}


def _row(row: TreeRow) -> dict[str, Any]:
    return {
        "path": row.path,
        "kind": row.kind,
        "status": row.status,
        "pid": row.pid,
        "uptime_s": row.uptime_s,
        "restarts": row.restarts,
        "restarts_allowed": row.restarts_allowed,
        "period_s": row.period_s,
        "mailbox": row.mailbox,
        "memory": row.memory,
        "cpu": row.cpu,
        "last_exit": row.last_exit or None,
        "last_exit_at": _time(row.last_exit_us),
        "note": row.note,
    }


def _exit(end: ExitShown) -> dict[str, Any]:
    return {
        "path": end.path,
        "at": _time(end.time_us),
        "reason": end.reason,
        "uptime_s": end.uptime_s,
        "traceback": end.traceback or None,
    }


def _traced(message: TracedMessage) -> dict[str, Any]:
    return {
        "at": _time(message.time_us),
        "type": message.message,
        "from": message.sender,
        "size": message.size,
        "call": message.is_call,
    }


def _command(row: CommandRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "begun_at": _time(row.begun_us),
        "finished_at": _time(row.finished_us or 0),
        "operator_id": row.operator_id,
        "operator_role": row.operator_role,
        "operator_name": row.operator_name,
        "entrance": row.entrance,
        "address": row.address,
        "verb": row.verb,
        "path": row.path,
        "arguments": row.arguments,
        "outcome": row.outcome,
        "detail": row.detail,
        "steps": row.steps,
    }


def _time(time_us: int) -> str | None:
    return representation.timestamp(time_us) if time_us else None
