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
from bitnexus.errors import AuditUnavailable, BadCursor, CommandRefused, UnknownPath
from bitnexus.http.answers import expect
from bitnexus.http.api.operated import operator_of
from bitnexus.http.api.resource import Resource
from bitnexus.http.described import Described
from bitnexus.http.pages import PageQuery, page
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.shapes.admin import Changed, Command, Exit, State, Trace
from bitnexus.http.shapes.admin import PartitionsChanged as PartitionsChangedShape
from bitnexus.http.shapes.admin import TreeRow as TreeRowShape
from bitnexus.http.shapes.base import One, Page
from bitnexus.http.validation import Model, QueryModel
from bitnexus.storage import operator_commands
from bitnexus.storage.operator_commands import CommandRow

PATH: Final = "/api/v1/admin"
TREE: Final = PATH + "/tree"
#: What a command's answer may take to come back beyond the command's own time.
GRACE_S: Final = 5.0
_AUDIT: Final = "audit"
_ERRORS: Final = (UnknownPath, CommandRefused, AuditUnavailable)

M = TypeVar("M", bound=Message)

#: A path of the tree: names joined by "/".
TreePath = Annotated[str, StringConstraints(pattern=r"^[ -~]*$", max_length=500)]


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


class Admin(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            _watched("", self.tree, "The supervision tree", TreeQuery, list[TreeRowShape]),
            _watched("/top", self.top, "The busiest processes, or light actors", TopQuery, list[TreeRowShape]),
            _watched("/state", self.state, "A summary of what a process knows", PathQuery, State),
            _watched("/history", self.history, "How processes ended", HistoryQuery, list[Exit]),
            _watched("/trace", self.trace, "The next messages of a process", TraceQuery, Trace),
            Route(
                "POST",
                TREE + "/commands",
                self.change,
                "Restart, stop, start, suspend, resume, drain or kill",
                access=Access.ADMIN,
                body=CreateCommand,
                timed=False,
                described=Described(
                    {200: One[Changed], 202: One[Changed]},
                    errors=_ERRORS,
                    example={"command": {"verb": "restart", "path": "bitnexus/http/http-0", "dry_run": True}},
                ),
            ),
            Route(
                "POST",
                TREE + "/partitions",
                self.change_partitions,
                "Have another number of partitions",
                access=Access.ADMIN,
                body=ChangeOfPartitions,
                timed=False,
                described=Described({200: One[PartitionsChangedShape]}, errors=_ERRORS),
            ),
            Route(
                "GET",
                PATH + "/audit",
                self.audit,
                "What operators did, newest first",
                access=Access.ADMIN,
                query=PageQuery,
                described=Described({200: Page[Command]}, errors=(BadCursor,)),
            ),
        ]

    async def tree(self, call: Call[None, TreeQuery]) -> web.Response:
        """The subtree, each process before its children."""
        asked = ShowTree(operator_of(call), call.query.path, call.query.actors)
        return data([_row(row) for row in (await self._ask(asked, TreeShown)).rows])

    async def top(self, call: Call[None, TopQuery]) -> web.Response:
        """The subtree's processes, or the light actors of one, the busiest first."""
        query = call.query
        asked = ShowTop(operator_of(call), query.path, query.sort, query.limit, query.for_s)
        return data([_row(row) for row in (await self._ask(asked, TreeShown, query.for_s)).rows])

    async def state(self, call: Call[None, PathQuery]) -> web.Response:
        """A summary of what one process, or light actor, knows."""
        shown = await self._ask(ShowState(operator_of(call), call.query.path), StateShown)
        return data({"path": shown.path, "state": shown.fields})

    async def history(self, call: Call[None, HistoryQuery]) -> web.Response:
        """How the processes of the subtree ended, newest first."""
        asked = ShowHistory(operator_of(call), call.query.path, call.query.limit)
        return data([_exit(end) for end in (await self._ask(asked, HistoryShown)).exits])

    async def trace(self, call: Call[None, TraceQuery]) -> web.Response:
        """The next messages: type, sender, size."""
        query = call.query
        asked = TraceMessages(operator_of(call), query.path, query.count, query.within_s)
        shown = await self._ask(asked, MessagesTraced, query.within_s)
        return data({"path": shown.path, "messages": [_traced(message) for message in shown.messages]})

    async def change(self, call: Call[CreateCommand, None]) -> web.Response:
        """Carry a command out: 200 when it is over, 202 when it has only begun, or goes on."""
        fields = call.body.command
        asked = ChangeTree(
            operator_of(call),
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
            operator_of(call), asked.path, asked.count, dry_run=asked.dry_run, within_s=asked.within_s
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


def _watched(path: str, handler: Any, summary: str, query: type[QueryModel], answer: Any) -> Route:  # noqa: ANN401 - of its own types each
    described = Described({200: One[answer]}, errors=_ERRORS)
    return Route(
        "GET", TREE + path, handler, summary, access=Access.ADMIN, query=query, timed=False, described=described
    )


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
