"""Transfers with all that their pages show, in one query: whose they are, what has resolved them, what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bitnexus.actors.messages import Transfer, TransferAnnotated
from bitnexus.storage.ledger import KINDS, TRANSFER_COLUMNS, Executor, transfer_row
from bitnexus.storage.ledger_annotations import COLUMNS, annotation_row

#: A posted transfer, kind and id of what has resolved or reversed it, and the latest words that it was given.
AsItIs: TypeAlias = tuple[Transfer, tuple[str, str] | None, TransferAnnotated | None]

#: What :func:`as_it_is` reads, of `t` and of :func:`joined`.
AS_IT_IS: Final = f"{TRANSFER_COLUMNS}, resolving.kind, resolving.id, said.*"
_TRANSFER_WIDTH: Final = 19
_SAID: Final = _TRANSFER_WIDTH + 2
AS_IT_IS_WIDTH: Final = _SAID + 8


def joined(up_to: str = "") -> str:
    """The joins of what has become of a transfer `t`; `up_to`, an expression, is the last event that counts.

    Each is one step in an index, and mostly finds nothing.
    """
    resolved_in_time, said_in_time = (f"AND r.seq <= {up_to}", f"AND n.seq <= {up_to}") if up_to else ("", "")
    return f"""
LEFT JOIN LATERAL (
    SELECT r.kind, r.id::text FROM ledger_transfers r
    WHERE coalesce(r.pending_id, r.reverses_id) = t.id
        AND r.refusal IS NULL AND coalesce(r.pending_id, r.reverses_id) IS NOT NULL {resolved_in_time}
) AS resolving ON true
LEFT JOIN LATERAL (
    SELECT {COLUMNS} FROM ledger_annotations n WHERE n.transfer_id = t.id {said_in_time} ORDER BY n.seq DESC LIMIT 1
) AS said ON true
"""


# The planner does not see how many are asked for: else it would plan again each time, which takes longer than to read.
# And each is looked up by its key, whatever the statistics say of a table that has just grown.
TRANSFERS_NOW: Final = f"""
SELECT {AS_IT_IS},
    (SELECT payer.owner_id::text FROM ledger_accounts payer WHERE payer.id = t.debit_account_id),
    (SELECT payee.owner_id::text FROM ledger_accounts payee WHERE payee.id = t.credit_account_id)
FROM unnest((SELECT $1::uuid[])) AS asked (id)
CROSS JOIN LATERAL (SELECT * FROM ledger_transfers x WHERE x.id = asked.id AND x.refusal IS NULL LIMIT 1) AS t
{joined()}
"""


@dataclass(frozen=True, slots=True)
class TransferNow:
    """A posted transfer as it is, and the owners of its accounts ("": nobody)."""

    as_it_is: AsItIs
    payer: str
    payee: str


def as_it_is(row: Any) -> AsItIs:  # noqa: ANN401 - asyncpg has no types
    """A transfer from `AS_IT_IS` (and whatever follows)."""
    kind, resolving_id, annotation_id = row[_TRANSFER_WIDTH : _SAID + 1]
    return (
        transfer_row(row),
        None if kind is None else (KINDS[kind], resolving_id),
        None if annotation_id is None else annotation_row(row[_SAID:AS_IT_IS_WIDTH]),
    )


async def transfers_now(db: Executor, transfer_ids: Sequence[str]) -> dict[str, TransferNow]:
    """Those of the transfers that were posted, by their ids; refused ones are not shown."""
    found = {}
    for row in map(tuple, await db.fetch(TRANSFERS_NOW, transfer_ids)):
        payer, payee = row[AS_IT_IS_WIDTH:]
        found[row[0]] = TransferNow(as_it_is(row), payer or "", payee or "")
    return found
