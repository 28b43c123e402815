"""One transfer with all that its page shows, in one query: whose it is, what has resolved it, what was said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bitnexus.actors.messages import Transfer, TransferAnnotated
from bitnexus.storage.ledger import KINDS, TRANSFER_COLUMNS, Executor, transfer_row
from bitnexus.storage.ledger_annotations import COLUMNS, annotation_row

# The accounts' owners come by their keys; both others are one step in an index, and mostly find nothing.
_TRANSFER_NOW: Final = f"""
SELECT {TRANSFER_COLUMNS}, payer.owner_id::text, payee.owner_id::text, resolving.kind, resolving.id, said.*
FROM ledger_transfers t
LEFT JOIN ledger_accounts payer ON payer.id = t.debit_account_id
LEFT JOIN ledger_accounts payee ON payee.id = t.credit_account_id
LEFT JOIN LATERAL (
    SELECT r.kind, r.id::text FROM ledger_transfers r
    WHERE coalesce(r.pending_id, r.reverses_id) = t.id
        AND r.refusal IS NULL AND coalesce(r.pending_id, r.reverses_id) IS NOT NULL
) AS resolving ON true
LEFT JOIN LATERAL (
    SELECT {COLUMNS} FROM ledger_annotations n WHERE n.transfer_id = t.id ORDER BY n.seq DESC LIMIT 1
) AS said ON true
WHERE t.id = $1 AND t.refusal IS NULL
"""
_TRANSFER_WIDTH: Final = 19


@dataclass(frozen=True, slots=True)
class TransferNow:
    """A posted transfer; the owners of its accounts ("": nobody); kind and id of what resolved it; its latest words."""

    transfer: Transfer
    payer: str
    payee: str
    resolution: tuple[str, str] | None
    words: TransferAnnotated | None


async def transfer_now(db: Executor, transfer_id: str) -> TransferNow | None:
    """The posted transfer, if there is one; a refused one is not shown."""
    row = await db.fetchrow(_TRANSFER_NOW, transfer_id)
    if row is None:
        return None
    payer, payee, kind, resolving_id, *said = tuple(row)[_TRANSFER_WIDTH:]
    return TransferNow(
        transfer_row(row),
        payer or "",
        payee or "",
        None if kind is None else (KINDS[kind], resolving_id),
        None if said[0] is None else annotation_row(said),
    )
