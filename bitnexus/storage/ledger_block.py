"""The one statement that writes a block, in two forms, and its parameters.

The plain form writes accounts opened and transfers of kind "post", which is what nearly every block is made of; the
full form writes everything. Each is one round trip and one transaction, whatever the size of the block: COPY, for the
transfers of large ones, was measured beside it. In binary or in text, at 1,000, 4,000 and 8,000 rows, it was not faster
beyond the noise (a transaction of four round trips), and took 1.6 to 6 times the ledger's own CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bitnexus.actors.messages import ACCOUNT_ACTIONS, TRANSFER_KINDS
from bitnexus.storage.binary_arrays import bigint_array, uuid_array
from bitnexus.storage.ledger_rows import BlockToWrite

#: The channel on which the server tells of each block that it has committed; the notice is the log's size.
NOTICES: Final = "bitnexus_blocks"

# The division is the last line of defence: it aborts the block if a balance to be changed is not there.
# For speed, columns of fixed width are taken from their arrays by subscripts, and columns of texts by unnest: each is
# the way that takes one step. A column of defaults only comes as an empty array, which gives NULLs; of a column that
# the first value tells (one asker, one asset, numbers without a gap) that value alone comes; the salts come in one
# piece.
_TEMPLATE: Final = """
WITH block AS (
    INSERT INTO ledger_blocks (height, prev_hash, hash, tree_size, tree_root, peaks, time_us)
    VALUES ($1::bigint, $2, $3, $4, $5, $6, $7::bigint)
), opened AS (
    INSERT INTO ledger_accounts
        (id, owner_id, asset, code, flags, debits_posted, credits_posted, seq, salt,{opened_names} block, time_us)
    SELECT n.*, $1::bigint, $7::bigint
    FROM unnest($8::uuid[], $9::uuid[], $10::text[], $11::int[], $12::int[], $13::bigint[], $14::bigint[],
        $15::bigint[], $16::bytea[]{opened_arrays}) AS n
), changed AS (
    UPDATE ledger_accounts a
    SET debits_posted = ($18::bigint[])[n.i], credits_posted = ($19::bigint[])[n.i]{changed_set}
    FROM generate_series(1, $34::int) AS n (i)
    WHERE a.id = ($17::uuid[])[n.i]
    RETURNING 1
), recorded AS (
    INSERT INTO ledger_transfers
        (id, debit_account_id, credit_account_id, user_id, amount, seq, debit_balance, credit_balance, code, asset,
         description, metadata, refusal, salt,{recorded_names} block, time_us)
    SELECT ($20::uuid[])[n.i], ($21::uuid[])[n.i], ($22::uuid[])[n.i],
        coalesce(($23::uuid[])[n.i], ($23::uuid[])[1]), ($24::bigint[])[n.i],
        coalesce(($25::bigint[])[n.i], ($25::bigint[])[1] + n.i - 1), ($26::bigint[])[n.i], ($27::bigint[])[n.i],
        coalesce(($28::int[])[n.i], 0), coalesce(n.asset, ($29::text[])[1]),
        coalesce(n.description, ''), coalesce(n.metadata, ''), n.refusal,
        substring($33::bytea FROM 16 * n.i - 15 FOR 16),{recorded_values} $1::bigint, $7::bigint
    FROM ROWS FROM (generate_series(1, $35::int), unnest($29::text[]), unnest($30::text[]), unnest($31::text[]),
        unnest($32::text[]){recorded_arrays}) AS n (i, asset, description, metadata, refusal{recorded_columns})
){more}
SELECT 1 / (count(*) = $34::int)::int, pg_notify('bitnexus_blocks', $4::bigint::text) FROM changed
"""

PLAIN: Final = _TEMPLATE.format_map(
    dict.fromkeys(
        (
            "opened_names",
            "opened_arrays",
            "changed_set",
            "recorded_names",
            "recorded_values",
            "recorded_arrays",
            "recorded_columns",
            "more",
        ),
        "",
    )
)

FULL: Final = _TEMPLATE.format(
    opened_names=" credit_limit,",
    opened_arrays=", $36::bigint[]",
    changed_set=""",
        debits_pending = ($37::bigint[])[n.i], credits_pending = ($38::bigint[])[n.i], state = ($39::int[])[n.i]""",
    recorded_names=" kind, pending_id, reverses_id, timeout_s,",
    recorded_values=""" coalesce(($40::smallint[])[n.i], 1), n.pending_id, n.reverses_id,
        coalesce(($43::int[])[n.i], 0),""",
    recorded_arrays=", unnest($41::uuid[]), unnest($42::uuid[])",
    recorded_columns=", pending_id, reverses_id",
    more="""
, account_changes AS (
    INSERT INTO ledger_account_changes (seq, account_id, action, user_id, salt, block, time_us)
    SELECT n.*, $1::bigint, $7::bigint
    FROM unnest($44::bigint[], $45::uuid[], $46::smallint[], $47::uuid[], $48::bytea[]) AS n
), nodes AS (
    INSERT INTO ledger_nodes (level, number, hash)
    SELECT n.* FROM unnest($49::smallint[], $50::bigint[], $51::bytea[]) AS n
), timers AS (
    INSERT INTO ledger_timers (transfer_id, expires_us) SELECT n.* FROM unnest($52::uuid[], $53::bigint[]) AS n
), stopped AS (
    DELETE FROM ledger_timers t USING unnest($54::uuid[]) AS n (id) WHERE t.transfer_id = n.id
), annotated AS (
    INSERT INTO ledger_annotations (seq, id, transfer_id, user_id, description, metadata, salt, block, time_us)
    SELECT n.*, $1::bigint, $7::bigint
    FROM unnest($55::bigint[], $56::uuid[], $57::uuid[], $58::uuid[], $59::text[], $60::text[], $61::bytea[]) AS n
)""",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a block is written by: `PLAIN` or `FULL`, and its parameters."""

    height: int
    plain: bool
    arguments: Sequence[Any]


def statement_of(block: BlockToWrite) -> Statement:
    """The statement that writes the block. To make it takes a tenth of what the server needs to carry it out."""
    plain = block.plain and not block.nodes
    arguments = _plain_arguments(block)
    return Statement(block.row.height, plain, arguments if plain else (*arguments, *_other_arguments(block)))


def _plain_arguments(block: BlockToWrite) -> Sequence[Any]:
    """The parameters of `PLAIN`, in order."""
    row, opened, totals, transfers = block.row, block.opened, block.totals, block.transfers
    return (
        row.height,
        row.prev_hash,
        row.hash,
        row.tree_size,
        row.tree_root,
        row.peaks,
        row.time_us,
        uuid_array([a.id for a in opened]),
        uuid_array([a.owner_id for a in opened], nullable=True),
        [a.asset for a in opened],
        [a.code for a in opened],
        [a.flags for a in opened],
        bigint_array([a.debits_posted for a in opened]),
        bigint_array([a.credits_posted for a in opened]),
        bigint_array([a.opened_seq for a in opened]),
        [a.salt for a in opened],
        uuid_array([each[0] for each in totals]),
        bigint_array([each[1] for each in totals]),
        bigint_array([each[2] for each in totals]),
        uuid_array([t.transfer_id for t in transfers]),
        uuid_array([t.debit_account_id for t in transfers]),
        uuid_array([t.credit_account_id for t in transfers]),
        uuid_array(_one_for_all([t.user_id for t in transfers])),
        bigint_array([t.amount for t in transfers]),
        bigint_array(_first_of_run([t.seq for t in transfers])),
        bigint_array([t.debit_balance for t in transfers]),
        bigint_array([t.credit_balance for t in transfers]),
        _unless_default([t.code for t in transfers]),
        _one_for_all([t.asset for t in transfers]),
        _unless_default([t.description for t in transfers]),
        _unless_default([t.metadata for t in transfers]),
        _unless_default(block.refusals),
        b"".join(block.salts),
        len(totals),
        len(transfers),
    )


def _other_arguments(block: BlockToWrite) -> Sequence[Any]:
    """The parameters of `FULL` after those of `PLAIN`, in order."""
    totals, changes, nodes, annotations = block.totals, block.changes, block.nodes, block.annotations
    transfers = () if block.plain else block.transfers
    return (
        bigint_array([a.credit_limit for a in block.opened]),
        bigint_array([each[3] for each in totals]),
        bigint_array([each[4] for each in totals]),
        [each[5] for each in totals],
        [TRANSFER_KINDS[t.kind] for t in transfers],
        uuid_array([t.pending_id for t in transfers], nullable=True),
        uuid_array([t.reverses_id for t in transfers], nullable=True),
        _unless_default([t.timeout_s for t in transfers]),
        bigint_array([c.seq for c in changes]),
        uuid_array([c.account_id for c in changes]),
        [ACCOUNT_ACTIONS[c.action] for c in changes],
        uuid_array([c.user_id for c in changes]),
        block.change_salts,
        [level for level, _, _ in nodes],
        bigint_array([number for _, number, _ in nodes]),
        [hash_ for _, _, hash_ in nodes],
        uuid_array([id_ for id_, _ in block.timers]),
        bigint_array([expires_us for _, expires_us in block.timers]),
        uuid_array(block.stopped_timers),
        bigint_array([a.seq for a in annotations]),
        uuid_array([a.annotation_id for a in annotations]),
        uuid_array([a.transfer_id for a in annotations]),
        uuid_array([a.user_id for a in annotations]),
        [a.description for a in annotations],
        [a.metadata for a in annotations],
        block.annotation_salts,
    )


def _one_for_all(values: list[str]) -> list[str]:
    """The column, or its first value alone if all of them are the same."""
    return values[:1] if len(set(values)) == 1 else values


def _first_of_run(values: list[int]) -> list[int]:
    """The ascending numbers, or the first alone if each of the others is the next one."""
    return values[:1] if values and values[-1] - values[0] == len(values) - 1 else values


def _unless_default(values: Sequence[int | str | None]) -> Sequence[int | str | None]:
    """The column, or nothing if all of it is 0, "" or None."""
    return values if any(values) else ()
