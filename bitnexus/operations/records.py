"""The record of a command, as it goes into the audit. Pure but for the clock."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bitnexus.actors.operator_messages import ENTRANCES, Operator, OperatorCommand, Step, TraceMessages
from bitnexus.actors.runtime.context import Context
from bitnexus.errors import BadRequest
from bitnexus.storage.operator_commands import CommandRow

MAX_PATH: Final = 500
MAX_NAME: Final = 100
_MAX_DETAIL: Final = 2_000


def whoever(said: Operator, context: Context) -> Operator:
    """The operator: fronts are believed; of what a client says of itself, only what it can know better."""
    client = context.connection.client
    if client is None:
        return said
    entrance = "cli" if said.entrance == "cli" else "message"
    return Operator(client.user_id, client.role, said.name, entrance, context.connection.remote)


def begun(verb: str, message: OperatorCommand, operator: Operator, **arguments: float) -> CommandRow:
    """The record of a command to the tree that begins. Raises BadRequest: it cannot be recorded as it is."""
    given: dict[str, Any] = dict(arguments)
    if isinstance(message, TraceMessages):
        given = {"count": message.count, "within_s": message.within_s}
    return begun_at(message.path, verb, operator, given)


def begun_at(path: str, verb: str, operator: Operator, arguments: Mapping[str, Any]) -> CommandRow:
    """The record of any command that begins; `path` is what it is about. Raises BadRequest as :func:`begun`."""
    try:
        operator_id = str(uuid.UUID(operator.user_id))
    except ValueError as error:
        raise BadRequest("The operator has no id") from error
    if operator.entrance not in ENTRANCES or len(path) > MAX_PATH or not path.isprintable():
        raise BadRequest("This is no path of the tree")
    return CommandRow(
        id=str(uuid.uuid4()),
        begun_us=time.time_ns() // 1000,
        operator_id=operator_id,
        operator_role=operator.role,
        operator_name=_printable(operator.name, MAX_NAME),
        entrance=operator.entrance,
        address=_printable(operator.address, MAX_NAME),
        verb=_printable(verb, MAX_NAME),
        path=path,
        arguments=dict(arguments),
    )


def ended(row: CommandRow, outcome: str, detail: str, steps: Sequence[Step] = ()) -> CommandRow:
    """The same record, with what came of the command."""
    return replace(
        row,
        finished_us=time.time_ns() // 1000,
        outcome=outcome,
        detail=_printable(detail, _MAX_DETAIL),
        steps=[{"action": step.action, "path": step.path, "by": step.by, "pid": step.pid} for step in steps],
    )


def _printable(text: str, most: int) -> str:
    """PostgreSQL takes no null bytes, and no terminal should take what an operator's name might hold."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:most])
