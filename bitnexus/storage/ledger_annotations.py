"""The words that transfers were given after they had been recorded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from bitnexus.actors.messages import TransferAnnotated
from bitnexus.storage.ledger import END, Executor

COLUMNS: Final = (
    "n.id::text, n.transfer_id::text, n.description, n.metadata, n.user_id::text, n.seq, n.block, n.time_us"
)

BY_ID: Final = f"SELECT {COLUMNS} FROM ledger_annotations n WHERE n.id = ANY($1::uuid[])"

LATEST: Final = f"""
SELECT DISTINCT ON (n.transfer_id) {COLUMNS} FROM ledger_annotations n
WHERE n.transfer_id = ANY($1::uuid[]) AND n.seq <= $2 ORDER BY n.transfer_id, n.seq DESC
"""


def annotation_row(row: Any) -> TransferAnnotated:  # noqa: ANN401 - asyncpg has no types
    """An annotation from `COLUMNS` (and whatever follows them)."""
    return TransferAnnotated(*tuple(row)[:8])


async def annotations_of(db: Executor, transfer_ids: Collection[str]) -> dict[str, TransferAnnotated]:
    """The latest annotation of each of the transfers that has any; by the transfer's id."""
    if not transfer_ids:
        return {}
    found = [annotation_row(row) for row in await db.fetch(LATEST, list(transfer_ids), END)]
    return {each.transfer_id: each for each in found}
