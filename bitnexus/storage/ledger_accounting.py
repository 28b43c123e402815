"""Reads of the books: a balance at a moment of the past, and the trial balance.

Entries hold the balance after them, so a balance of any time is found by two look-ups in an index, however long the
log is. The trial balance of the past is the present one without what came since. All of it is read beside the ledger,
which waits for none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bitnexus.actors.messages import TRANSFER_KINDS
from bitnexus.storage.ledger import END, Executor

# The account comes out of an array, as in a history: by a constant the planner would see how often it occurs, and look
# for a frequent one's last entry through the whole log from its end.
_BALANCE: Final = """
SELECT newest.balance FROM unnest(ARRAY[$1::uuid]) AS account (id), LATERAL (
    (SELECT d.seq, d.debit_balance AS balance FROM ledger_transfers d
     WHERE d.debit_account_id = account.id AND d.refusal IS NULL AND d.seq <= $2 ORDER BY d.seq DESC LIMIT 1)
    UNION ALL
    (SELECT c.seq, c.credit_balance FROM ledger_transfers c
     WHERE c.credit_account_id = account.id AND c.refusal IS NULL AND c.seq <= $2 ORDER BY c.seq DESC LIMIT 1)
) AS newest ORDER BY newest.seq DESC LIMIT 1
"""

# Blocks follow each other in time and their heights have no gap: halving the heights costs a look-up by key for each
# doubling of the log, and writing blocks costs no index on the time.
_SEQ_AT: Final = """
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, coalesce(max(height), 0) + 1 FROM ledger_blocks
    UNION ALL
    SELECT CASE WHEN b.time_us <= $1 THEN b.height ELSE s.low END,
        CASE WHEN b.time_us <= $1 THEN s.high ELSE b.height END
    FROM search s JOIN ledger_blocks b ON b.height = (s.low + s.high) / 2
    WHERE s.high - s.low > 1
)
SELECT coalesce((SELECT tree_size FROM ledger_blocks WHERE height = max(low)), 0) - 1 FROM search
"""

_KINDS: Final = {
    "moved": ", ".join(str(TRANSFER_KINDS[kind]) for kind in ("post", "post_pending", "reversal")),
    "pending": TRANSFER_KINDS["pending"],
    "resolves": ", ".join(str(TRANSFER_KINDS[kind]) for kind in ("post_pending", "void_pending", "expire_pending")),
}

# One statement, so one snapshot: the accounts, the head they belong to, and what came after the moment asked for. What
# a pending transfer had reserved is looked up for those that resolve one alone.
_TRIAL_BALANCE: Final = """
WITH head AS (
    SELECT coalesce((SELECT tree_size - 1 FROM ledger_blocks ORDER BY height DESC LIMIT 1), -1) AS seq
), present AS (
    SELECT a.asset, count(*) FILTER (WHERE a.seq <= $1) AS accounts,
        sum(a.debits_posted) AS debits, sum(a.credits_posted) AS credits,
        sum(a.debits_pending) AS debits_pending, sum(a.credits_pending) AS credits_pending
    FROM ledger_accounts a GROUP BY a.asset
), since AS (
    SELECT t.asset, coalesce(sum(t.amount) FILTER (WHERE t.kind IN ({moved})), 0) AS moved,
        coalesce(sum(CASE
            WHEN t.kind = {pending} THEN t.amount
            WHEN t.kind IN ({resolves}) THEN -(SELECT p.amount FROM ledger_transfers p WHERE p.id = t.pending_id)
        END), 0) AS reserved
    FROM ledger_transfers t WHERE t.seq > $1 AND t.refusal IS NULL GROUP BY t.asset
), past AS MATERIALIZED (
    SELECT n.asset, n.accounts, n.debits - coalesce(s.moved, 0) AS debits, n.credits - coalesce(s.moved, 0) AS credits,
        n.debits_pending - coalesce(s.reserved, 0) AS debits_pending,
        n.credits_pending - coalesce(s.reserved, 0) AS credits_pending
    FROM present n LEFT JOIN since s ON s.asset = n.asset WHERE n.accounts > 0
)
SELECT least($1, head.seq) AS as_of_seq,
    (SELECT count(*) FROM past WHERE debits <> credits OR debits_pending <> credits_pending) AS unbalanced,
    page.*
FROM head LEFT JOIN LATERAL (
    SELECT asset, accounts, debits::text, credits::text, debits_pending::text, credits_pending::text
    FROM past WHERE asset COLLATE "C" > $2 ORDER BY asset COLLATE "C" LIMIT $3
) AS page ON true
""".format_map(_KINDS)


@dataclass(frozen=True, slots=True)
class AssetTotals:
    """The sums over all accounts of an asset, in its minor units."""

    asset: str
    accounts: int
    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int

    @property
    def difference(self) -> int:
        """Posted credits - debits: 0, or the books are wrong."""
        return self.credits_posted - self.debits_posted

    @property
    def difference_pending(self) -> int:
        """The same of what is pending."""
        return self.credits_pending - self.debits_pending


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Assets in the order of their names; `unbalanced` counts, over all assets, those that have a difference."""

    as_of_seq: int
    unbalanced: int
    assets: Sequence[AssetTotals]


async def balance_at(db: Executor, account_id: str, seq: int) -> int:
    """The account's posted credits - debits after the event `seq`; 0 before its first entry."""
    row = await db.fetchrow(_BALANCE, account_id, seq)
    return 0 if row is None else int(row[0])


async def seq_at(db: Executor, time_us: int) -> int:
    """The last event of the last block that was made at that time or before; -1 before the first."""
    row = await db.fetchrow(_SEQ_AT, time_us)
    return int(row[0])


async def trial_balance(
    db: Executor, *, at_seq: int = END, after_asset: str = "", limit: int | None = None
) -> TrialBalance:
    """The trial balance after the event `at_seq` (or the newest one), of one snapshot.

    It costs a pass over the accounts, and one over the events that came after `at_seq`. At most `limit` assets, those
    behind `after_asset`.
    """
    rows = await db.fetch(_TRIAL_BALANCE, at_seq, after_asset, limit)
    # Sums of 63-bit totals may be longer: they come as text.
    totals = [AssetTotals(row[2], row[3], *map(int, tuple(row)[4:])) for row in rows if row[2] is not None]
    return TrialBalance(rows[0][0], rows[0][1], totals)
