"""The process ``operations``: takes the operators' commands, whichever way they come, and leaves a record of each.

    bitnexus tree …           ──┐
    /api/v1/admin/tree … front ─┼─▶ operations ──▶ supervisors, processes
    bitnexus.connect().call() ──┘        └──▶ audit (PostgreSQL, or a file until it is back)

It decides by the pure planner (plan.py) and gives orders; supervisors carry them out. So it may die at any moment: what
was begun goes on, and the record of it says that nobody told how it ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bitnexus.actors.operator_messages import (
    MAX_WITHIN_S,
    ChangePartitions,
    ChangeTree,
    HistoryShown,
    MessagesTraced,
    OperatorCommand,
    PartitionsChanged,
    ShowHistory,
    ShowState,
    ShowTop,
    ShowTree,
    StateShown,
    Step,
    TraceMessages,
    TreeChanged,
    TreeShown,
)
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.config import get_settings
from bitnexus.errors import AuditUnavailable, BadRequest, BitNexusError, CallTimeout, Conflict, Overloaded
from bitnexus.operations.audit import Audit
from bitnexus.operations.execution import Execution, Result
from bitnexus.operations.looking import Looking
from bitnexus.operations.partitions import PartitionChanges, PartitionsPlan
from bitnexus.operations.plan import Plan, plan
from bitnexus.operations.records import begun, ended, whoever
from bitnexus.operations.revoked_tokens import RevokedTokens
from bitnexus.storage.database import Database
from bitnexus.storage.operator_commands import CommandRow

POOL_SIZE: Final = 2
#: Commands under way; operators are few.
MAX_AT_WORK: Final = 100
#: What ends whatever else is being done there: a drain that takes too long, a stop that hangs.
_ALWAYS: Final = ("resume", "kill")

A = TypeVar("A", bound=Message)
C = TypeVar("C", bound=OperatorCommand)


class Operations(Process):
    """Answers the messages of operator_messages."""

    async def init(self) -> None:
        """Ready at once; the database need not be there."""
        settings = get_settings()
        if settings.database_url is None:
            raise RuntimeError("the database's address is not set")
        self._database = await Database.connect(settings.database_url, pool_size=POOL_SIZE, process=self.name)
        self._audit = Audit(self._database, settings.data_dir)
        root_name = self.path.partition("/")[0]
        self._looking = Looking(self.node, root_name)
        self._execution = Execution(self.node, root_name)
        self._partitions = PartitionChanges(self.node, self._looking)
        self._at_work: dict[str, tuple[str, str]] = {}  # command → path, what is being done there
        self._commands = 0
        self.spawn(self._audit.run())
        self.spawn(RevokedTokens(self.node, self.name, self._database, self.refuse_tokens).run())

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - it makes no difference here
        """What is under way goes on without this process."""
        await self._database.close(timeout_s=1.0)

    def summary(self) -> dict[str, Scalar]:
        """What is being done."""
        changing = ", ".join(f"{verb} {path}" for path, verb in self._at_work.values())
        return {"commands": self._commands, "changing": changing}

    # -- looking ---------------------------------------------------------------------------------------------

    @handles(ShowTree, clients=True)
    async def show_tree(self, message: ShowTree, context: Context) -> TreeShown:
        """See the message."""
        return await self._look("tree", message, context, self._looking.tree)

    @handles(ShowTop, clients=True)
    async def show_top(self, message: ShowTop, context: Context) -> TreeShown:
        """See the message."""
        return await self._look("top", message, context, self._looking.top)

    @handles(ShowState, clients=True)
    async def show_state(self, message: ShowState, context: Context) -> StateShown:
        """See the message."""
        return await self._look("state", message, context, self._looking.state)

    @handles(ShowHistory, clients=True)
    async def show_history(self, message: ShowHistory, context: Context) -> HistoryShown:
        """See the message."""
        return await self._look("history", message, context, self._looking.history)

    @handles(TraceMessages, clients=True)
    async def trace(self, message: TraceMessages, context: Context) -> MessagesTraced:
        """See the message."""
        return await self._look("trace", message, context, self._looking.trace)

    async def _look(self, verb: str, message: C, context: Context, look: Callable[[C], Awaitable[A]]) -> A:
        row = begun(verb, message, whoever(message.operator, context))
        outcome, detail = "done", ""
        with self._one_more():
            try:
                return await look(message)
            except BitNexusError as error:
                outcome, detail = "refused", error.detail
                raise
            finally:
                # A trace shows who does what: each of them is recorded.
                if verb == "trace" or self._audit.is_new_look(row.operator_id, row.entrance, verb, row.path):
                    await self._record_look(ended(row, outcome, detail))

    async def _record_look(self, row: CommandRow) -> None:
        try:
            await self._audit.write(row)
        except AuditUnavailable as error:
            # Whoever only looks has changed nothing; without a database and a disk, looking is what helps.
            why = error.detail
            self.log.error("look_not_recorded", verb=row.verb, path=row.path, user_id=row.operator_id, why=why)  # noqa: TRY400

    # -- changing --------------------------------------------------------------------------------------------

    @handles(ChangeTree, clients=True)
    async def change(self, message: ChangeTree, context: Context) -> TreeChanged | None:
        """See the message."""
        row = begun(message.verb, message, whoever(message.operator, context), within_s=message.within_s)
        with self._one_more():
            if message.dry_run:
                found, _ = await self._plan(message)
                return TreeChanged("would" if found.orders else "nothing", found.steps, list(found.warnings))
            try:
                found, path = await self._plan(message)
                self._check_free(path, message.verb)
            except BitNexusError as error:
                await self._audit.write(ended(row, "refused", error.detail))
                raise
            self._at_work[row.id] = (path, message.verb)
            try:
                return await self._change(message, context, row, found)
            finally:
                del self._at_work[row.id]

    async def _plan(self, message: ChangeTree) -> tuple[Plan, str]:
        if not 0 < message.within_s <= MAX_WITHIN_S:
            raise BadRequest(f"A command may be given up to {MAX_WITHIN_S:g} s")
        located = await self._looking.locate(message.path)
        status = "" if located.actor is None else located.actor.status
        return plan(located.place, message.verb, own_path=self.path, actor_status=status), located.place.path

    async def _change(self, message: ChangeTree, context: Context, row: CommandRow, found: Plan) -> TreeChanged | None:
        await self._record_begin(row)
        if found.ends(self.path) or found.waits_for(message.via):
            # Whoever passes the answer on would wait for an end that waits for it.
            context.reply(_changed("begun", found.steps, found, row))
        if found.ends(self.path):
            await self._audit.write(ended(row, "begun", "it ends the process that carries it out", found.steps))
        result = await self._execution.carry_out(found, message.within_s)
        await self._record_end(row, result)
        return None if context.answered else _changed(result.outcome, result.steps, found, row, result.detail)

    @handles(ChangePartitions, clients=True)
    async def change_partitions(self, message: ChangePartitions, context: Context) -> PartitionsChanged:
        """See the message."""
        arguments = {"count": message.count, "within_s": message.within_s}
        row = begun("partitions", message, whoever(message.operator, context), **arguments)
        with self._one_more():
            if message.dry_run:
                would = await self._partitions.plan(message)
                return _partitions_changed("would" if would.steps else "nothing", would, 0.0)
            try:
                found = await self._partitions.plan(message)
                self._check_free(found.path, row.verb)
            except BitNexusError as error:
                await self._audit.write(ended(row, "refused", error.detail))
                raise
            self._at_work[row.id] = (found.path, row.verb)
            try:
                await self._record_begin(row)
                return await self._change_partitions(message, row, found)
            finally:
                del self._at_work[row.id]

    async def _change_partitions(
        self, message: ChangePartitions, row: CommandRow, found: PartitionsPlan
    ) -> PartitionsChanged:
        try:
            done = await self._partitions.carry_out(found, message.within_s)
        except BitNexusError as error:
            outcome = "unfinished" if isinstance(error, CallTimeout) else "failed"
            await self._record_end(row, Result(outcome, list(found.steps), error.detail))
            raise
        outcome = "done" if done.before != done.count else "nothing"
        await self._record_end(row, Result(outcome, list(found.steps), f"{done.count} instead of {done.before}"))
        return _partitions_changed(outcome, found, done.seconds, row.id)

    async def _record_begin(self, row: CommandRow) -> None:
        await self._audit.write(row)
        self.log.warning(
            "operator_command",
            command=row.id,
            verb=row.verb,
            path=row.path,
            user_id=row.operator_id,
            operator=row.operator_name,
            entrance=row.entrance,
            address=row.address,
        )

    async def _record_end(self, row: CommandRow, result: Result) -> None:
        self.log.warning("operator_command_ended", command=row.id, outcome=result.outcome, detail=result.detail)
        try:
            await self._audit.write(ended(row, result.outcome, result.detail, result.steps))
        except AuditUnavailable as error:
            # It is done, and was recorded when it began: the operator must hear of the outcome, not of the disk.
            self.log.error("outcome_not_recorded", command=row.id, outcome=result.outcome, why=error.detail)  # noqa: TRY400

    def _check_free(self, path: str, verb: str) -> None:
        if verb in _ALWAYS:
            return
        for busy, doing in self._at_work.values():
            if f"{busy}/".startswith(f"{path}/") or f"{path}/".startswith(f"{busy}/"):
                raise Conflict(f"{busy} is in the middle of a {doing}: no {verb} of {path} until that is over")

    def _one_more(self) -> _Counted:
        if self._commands >= MAX_AT_WORK:
            raise Overloaded("Too many operators' commands are under way")
        return _Counted(self)


class _Counted:
    """Counts a command for as long as it is under way."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def __enter__(self) -> None:
        self._operations._commands += 1  # noqa: SLF001 - its own

    def __exit__(self, *_: object) -> None:
        self._operations._commands -= 1  # noqa: SLF001 - its own


def _changed(outcome: str, steps: list[Step], found: Plan, row: CommandRow, detail: str = "") -> TreeChanged:
    return TreeChanged(outcome, steps, list(found.warnings), detail, row.id)


def _partitions_changed(outcome: str, found: PartitionsPlan, seconds: float, command_id: str = "") -> PartitionsChanged:
    return PartitionsChanged(outcome, found.before, found.count, found.slots, seconds, list(found.steps), command_id)
