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
from bitnexus.storage.ledger_rows import BlockToWrite

#: The channel on which the server tells of each block that it has committed; the notice is the log's size.
NOTICES: Final = "bitnexus_blocks"

# The division is the last line of defence: it aborts the block if a balance to be changed is not there.
# For speed columns of ids and numbers come as the text of an array, which is made faster than asyncpg encodes one; a
# column of defaults only comes as an empty array, which unnest fills up with NULLs; of a column that the first value
# tells (one asker, one asset, numbers without a gap) that value alone comes; the salts come in one piece.
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
    UPDATE ledger_accounts a SET debits_posted = n.debits, credits_posted = n.credits{changed_set}
    FROM unnest($17::text::uuid[], $18::text::bigint[], $19::text::bigint[]{changed_arrays})
        AS n (id, debits, credits{changed_names})
    WHERE a.id = n.id
    RETURNING 1
), recorded AS (
    INSERT INTO ledger_transfers
        (id, debit_account_id, credit_account_id, user_id, amount, seq, debit_balance, credit_balance, code, asset,
         description, metadata, refusal, salt,{recorded_names} block, time_us)
    SELECT n.id, n.debit, n.credit, coalesce(n.asker, (SELECT ($23::text::uuid[])[1])), n.amount,
        coalesce(n.seq, (SELECT ($25::text::bigint[])[1]) + n.number - 1), n.debit_balance, n.credit_balance,
        coalesce(n.code, 0), coalesce(n.asset, (SELECT ($29::text::text[])[1])),
        coalesce(n.description, ''), coalesce(n.metadata, ''), n.refusal,
        substring($33::bytea FROM 16 * n.number::int - 15 FOR 16),{recorded_values} $1::bigint, $7::bigint
    FROM unnest($20::text::uuid[], $21::text::uuid[], $22::text::uuid[], $23::text::uuid[], $24::text::bigint[],
        $25::text::bigint[], $26::text::bigint[], $27::text::bigint[], $28::int[], $29::text::text[], $30::text[],
        $31::text[], $32::text[]{recorded_arrays}) WITH ORDINALITY
        AS n (id, debit, credit, asker, amount, seq, debit_balance, credit_balance, code, asset, description, metadata,
            refusal,{recorded_names} number)
){more}
SELECT 1 / (count(*) = $34::int)::int, pg_notify('bitnexus_blocks', $4::bigint::text) FROM changed
"""

PLAIN: Final = _TEMPLATE.format_map(
    dict.fromkeys(
        (
            "opened_names",
            "opened_arrays",
            "changed_set",
            "changed_arrays",
            "changed_names",
            "recorded_names",
            "recorded_values",
            "recorded_arrays",
            "more",
        ),
        "",
    )
)

FULL: Final = _TEMPLATE.format(
    opened_names=" credit_limit,",
    opened_arrays=", $35::bigint[]",
    changed_set=", debits_pending = n.debits_pending, credits_pending = n.credits_pending, state = n.state",
    changed_arrays=", $36::text::bigint[], $37::text::bigint[], $38::text::int[]",
    changed_names=", debits_pending, credits_pending, state",
    recorded_names=" kind, pending_id, reverses_id, timeout_s,",
    recorded_values=" n.kind, n.pending_id, n.reverses_id, coalesce(n.timeout_s, 0),",
    recorded_arrays=", $39::text::smallint[], $40::uuid[], $41::uuid[], $42::int[]",
    more="""
, account_changes AS (
    INSERT INTO ledger_account_changes (seq, account_id, action, user_id, salt, block, time_us)
    SELECT n.*, $1::bigint, $7::bigint
    FROM unnest($43::bigint[], $44::uuid[], $45::smallint[], $46::uuid[], $47::bytea[]) AS n
), nodes AS (
    INSERT INTO ledger_nodes (level, number, hash)
    SELECT n.* FROM unnest($48::smallint[], $49::bigint[], $50::bytea[]) AS n
), timers AS (
    INSERT INTO ledger_timers (transfer_id, expires_us) SELECT n.* FROM unnest($51::uuid[], $52::bigint[]) AS n
), stopped AS (
    DELETE FROM ledger_timers t USING unnest($53::uuid[]) AS n (id) WHERE t.transfer_id = n.id
), annotated AS (
    INSERT INTO ledger_annotations (seq, id, transfer_id, user_id, description, metadata, salt, block, time_us)
    SELECT n.*, $1::bigint, $7::bigint
    FROM unnest($54::bigint[], $55::uuid[], $56::uuid[], $57::uuid[], $58::text[], $59::text[], $60::bytea[]) AS n
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
    arguments = _plain_arguments(block) if block.plain else _full_arguments(block)
    return Statement(block.row.height, block.plain, arguments)


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
        [a.id for a in opened],
        [a.owner_id or None for a in opened],
        [a.asset for a in opened],
        [a.code for a in opened],
        [a.flags for a in opened],
        [a.debits_posted for a in opened],
        [a.credits_posted for a in opened],
        [a.opened_seq for a in opened],
        [a.salt for a in opened],
        _words([each[0] for each in totals]),
        _numbers([each[1] for each in totals]),
        _numbers([each[2] for each in totals]),
        _words([t.transfer_id for t in transfers]),
        _words([t.debit_account_id for t in transfers]),
        _words([t.credit_account_id for t in transfers]),
        _words(_one_for_all([t.user_id for t in transfers])),
        _numbers([t.amount for t in transfers]),
        _numbers(_first_of_run([t.seq for t in transfers])),
        _numbers([t.debit_balance for t in transfers]),
        _numbers([t.credit_balance for t in transfers]),
        _unless_default([t.code for t in transfers]),
        _words(_one_for_all([t.asset for t in transfers])),
        _unless_default([t.description for t in transfers]),
        _unless_default([t.metadata for t in transfers]),
        _unless_default(block.refusals),
        b"".join(block.salts),
        len(totals),
    )


def _full_arguments(block: BlockToWrite) -> Sequence[Any]:
    """The parameters of `FULL`, in order."""
    totals, transfers, changes, nodes = block.totals, block.transfers, block.changes, block.nodes
    annotations = block.annotations
    return (
        *_plain_arguments(block),
        [a.credit_limit for a in block.opened],
        _numbers([each[3] for each in totals]),
        _numbers([each[4] for each in totals]),
        _numbers([each[5] for each in totals]),
        _numbers([TRANSFER_KINDS[t.kind] for t in transfers]),
        _unless_default([t.pending_id or None for t in transfers]),
        _unless_default([t.reverses_id or None for t in transfers]),
        _unless_default([t.timeout_s for t in transfers]),
        [c.seq for c in changes],
        [c.account_id for c in changes],
        [ACCOUNT_ACTIONS[c.action] for c in changes],
        [c.user_id for c in changes],
        block.change_salts,
        [level for level, _, _ in nodes],
        [number for _, number, _ in nodes],
        [hash_ for _, _, hash_ in nodes],
        [id_ for id_, _ in block.timers],
        [expires_us for _, expires_us in block.timers],
        block.stopped_timers,
        [a.seq for a in annotations],
        [a.annotation_id for a in annotations],
        [a.transfer_id for a in annotations],
        [a.user_id for a in annotations],
        [a.description for a in annotations],
        [a.metadata for a in annotations],
        block.annotation_salts,
    )


def _words(values: list[str]) -> str:
    """The text of an array of UUIDs or assets: well-formed ones hold nothing that would have to be quoted."""
    return "{" + ",".join(values) + "}"


def _numbers(values: list[int]) -> str:
    """The text of an array of integers."""
    return "{" + str(values)[1:-1] + "}"


def _one_for_all(values: list[str]) -> list[str]:
    """The column, or its first value alone if all of them are the same."""
    return values[:1] if len(set(values)) == 1 else values


def _first_of_run(values: list[int]) -> list[int]:
    """The ascending numbers, or the first alone if each of the others is the next one."""
    return values[:1] if values and values[-1] - values[0] == len(values) - 1 else values


def _unless_default(values: Sequence[int | str | None]) -> Sequence[int | str | None]:
    """The column, or nothing if all of it is 0, "" or None."""
    return values if any(values) else ()
