"""Does the database hold exactly what it must? The ledger recomputed from its tables, and every promise kept."""

from __future__ import annotations

import traceback
from collections.abc import Iterable

import asyncpg

from tests.chaos.clients import Acknowledged
from tests.integration import ledger_harness


async def audit(url: str, acknowledged: Iterable[Acknowledged]) -> list[str]:
    """What is wrong with the ledger in this database; nothing, if every acknowledged transfer is in it, once."""
    try:
        await ledger_harness.audit(url)
    except AssertionError:
        return [f"the ledger does not add up: {traceback.format_exc(limit=-1)}"]
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT * FROM ledger_transfers WHERE refusal IS NULL")
    finally:
        await connection.close()
    return [*_promises(rows, list(acknowledged))][:20]


def _promises(rows: list[asyncpg.Record], acknowledged: list[Acknowledged]) -> Iterable[str]:
    """Ids are unique in the table: an acknowledged one that is there as it was told is there exactly once."""
    posted = {str(row["id"]): row for row in rows}
    if len({done.transfer_id for done in acknowledged}) != len(acknowledged):
        yield "an id was acknowledged for two transfers"
    for done in acknowledged:
        row = posted.get(done.transfer_id)
        if row is None:
            yield f"lost: {done}"
        elif done != Acknowledged(
            done.transfer_id,
            str(row["debit_account_id"]),
            str(row["credit_account_id"]),
            row["amount"],
            row["seq"],
            row["block"],
        ):
            yield f"acknowledged as {done}, recorded as {dict(row)}"
