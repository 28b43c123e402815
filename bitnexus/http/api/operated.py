"""Operators who come by HTTP: who they are, and the record of what they change in tables."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from bitnexus.actors.operator_messages import Operator
from bitnexus.http.routes import Call
from bitnexus.http.services import Services
from bitnexus.operations.recorded import Outcome, recorded
from bitnexus.operations.records import begun_at


def operator_of(call: Call[Any, Any]) -> Operator:
    """Who gives the command, and from where."""
    principal = call.principal
    return Operator(principal.user_id, principal.role, "", "http", call.request.remote or "")


@contextlib.asynccontextmanager
async def changing(
    services: Services, call: Call[Any, Any], verb: str, path: str, **arguments: object
) -> AsyncIterator[tuple[Any, Outcome]]:
    """A transaction, and what came of it: an admin's is in the operators' audit, who changes what is its own is none.

    Raises:
        DatabaseUnavailable: nothing was changed.
    """
    async with services.database.connection() as connection:
        if call.principal.is_admin:
            async with recorded(connection, begun_at(path, verb, operator_of(call), arguments)) as outcome:
                yield connection, outcome
        else:
            async with connection.transaction():
                yield connection, Outcome()
