"""Queries of the table ``operator_commands``, the audit of operators. Times are microseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bitnexus.storage.database import Executor

_COLUMNS = """
    id::text, begun_us, finished_us, operator_id::text, operator_role, operator_name, entrance, address, verb, path,
    arguments, outcome, detail, steps
"""
# Written when it begins and when it ends, in whichever order the two arrive: an outcome stays.
_RECORD = """
    INSERT INTO operator_commands AS known (
        id, begun_us, finished_us, operator_id, operator_role, operator_name, entrance, address, verb, path,
        arguments, outcome, detail, steps
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO UPDATE
        SET finished_us = excluded.finished_us, outcome = excluded.outcome, detail = excluded.detail,
            steps = excluded.steps
        WHERE known.outcome IS NULL
"""
_NEWEST = f"""
    SELECT {_COLUMNS} FROM operator_commands
    WHERE ($1::bigint IS NULL OR (begun_us, id) < ($1, $2::uuid))
    ORDER BY begun_us DESC, id DESC LIMIT $3
"""  # noqa: S608 - constants alone
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command. `outcome` is None while it is under way, or when nobody lived to say how it ended."""

    id: str
    begun_us: int
    operator_id: str
    operator_role: str
    operator_name: str
    entrance: str
    address: str
    verb: str
    path: str
    arguments: dict[str, Any] = field(default_factory=dict)
    finished_us: int | None = None
    outcome: str | None = None
    detail: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


async def record(executor: Executor, row: CommandRow) -> None:
    """Write the row, or what came of the command whose row is there. Repeating it is harmless."""
    values = asdict(row)
    await executor.execute(
        _RECORD,
        *(
            values[name]
            for name in (
                "id",
                "begun_us",
                "finished_us",
                "operator_id",
                "operator_role",
                "operator_name",
                "entrance",
                "address",
                "verb",
                "path",
                "arguments",
                "outcome",
                "detail",
                "steps",
            )
        ),
    )


async def newest(
    executor: Executor, *, before_us: int | None = None, before_id: str = _FIRST_ID, limit: int
) -> list[CommandRow]:
    """The commands that began last, newest first; with `before_us` and `before_id` those before that one."""
    rows: list[Mapping[str, Any]] = await executor.fetch(_NEWEST, before_us, before_id, limit)
    return [CommandRow(**row) for row in rows]
