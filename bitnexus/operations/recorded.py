"""Operators' commands that are changes of PostgreSQL's tables alone: the change and its record are one transaction.

So there is neither without the other, whatever dies meanwhile; commands on the tree, which no transaction holds, are
recorded before they begin (see actor.py). The rows are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from bitnexus.errors import BitNexusError
from bitnexus.operations.records import ended
from bitnexus.storage import operator_commands
from bitnexus.storage.operator_commands import CommandRow


@dataclass(slots=True)
class Outcome:
    """What came of the command, set by who carries it out: "done", or "nothing" if it was so already."""

    word: str = "done"
    detail: str = ""


@contextlib.asynccontextmanager
async def recorded(connection: asyncpg.Connection[Any], row: CommandRow) -> AsyncIterator[Outcome]:
    """Carry out the command within; a BitNexusError is recorded as its refusal, and goes on to the caller."""
    outcome = Outcome()
    try:
        async with connection.transaction():
            yield outcome
            await operator_commands.record(connection, ended(row, outcome.word, outcome.detail))
    except BitNexusError as error:
        await operator_commands.record(connection, ended(row, "refused", error.detail))
        raise
