"""Pages of the ledger's lists, each in one query: so all that stands in a page is of one snapshot, and of one event.

A page is as of the event `as_of_seq`: of the newest one, or, where a list goes on, of the one with which it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from bitnexus.storage.ledger import ACCOUNT_COLUMNS, Executor, account_row
from bitnexus.storage.ledger_rows import AccountRow
from bitnexus.storage.ledger_transfer_now import AS_IT_IS, AsItIs, as_it_is, joined

#: Of a user's accounts, the oldest, as many as are looked through for the user's transfers.
MOST_ACCOUNTS: Final = 1_000

_NEWEST: Final = "coalesce((SELECT tree_size - 1 FROM ledger_blocks ORDER BY height DESC LIMIT 1), -1)"


def _newest_of(account: str, before: str, most: str) -> str:
    # The newest of each side by its index: a page costs the same in any history.
    return f"""
    (SELECT * FROM ledger_transfers d
     WHERE d.debit_account_id = {account} AND d.refusal IS NULL AND d.seq < {before} ORDER BY d.seq DESC LIMIT {most})
    UNION ALL
    (SELECT * FROM ledger_transfers c
     WHERE c.credit_account_id = {account} AND c.refusal IS NULL AND c.seq < {before} ORDER BY c.seq DESC LIMIT {most})
"""


# As with TRANSFERS_NOW, the planner does not see how many are asked for, and each account is looked up by its key.
HISTORIES: Final = f"""
SELECT asked.number, moment.as_of, {AS_IT_IS}
FROM unnest(
    (SELECT $1::uuid[]), (SELECT $2::uuid[]), (SELECT $3::bigint[]), (SELECT $4::bigint[]), (SELECT $5::integer[])
) WITH ORDINALITY AS asked (account_id, owner_id, as_of, before, most, number)
CROSS JOIN LATERAL (
    SELECT a.id FROM ledger_accounts a
    WHERE a.id = asked.account_id AND (asked.owner_id IS NULL OR a.owner_id = asked.owner_id) LIMIT 1
) AS account
CROSS JOIN LATERAL (SELECT coalesce(asked.as_of, {_NEWEST}) AS as_of) AS moment
LEFT JOIN LATERAL (
    {_newest_of("account.id", "coalesce(asked.before, moment.as_of + 1)", "asked.most")}
    ORDER BY seq DESC LIMIT asked.most
) AS t ON true
{joined("moment.as_of")}
"""

_TRANSFERS_OF: Final = f"""
SELECT moment.as_of, {AS_IT_IS}
FROM (SELECT coalesce($2::bigint, {_NEWEST}) AS as_of) AS moment
LEFT JOIN LATERAL (
    SELECT DISTINCT ON (each.seq) each.*
    FROM (SELECT a.id FROM ledger_accounts a WHERE a.owner_id = $1 ORDER BY a.seq LIMIT {MOST_ACCOUNTS}) AS account,
    LATERAL ({_newest_of("account.id", "coalesce($3::bigint, moment.as_of + 1)", "$4")}) AS each
    ORDER BY each.seq DESC LIMIT $4
) AS t ON true
{joined("moment.as_of")}
"""

_ACCOUNTS_AS_OF: Final = f"""
SELECT newest.seq, {ACCOUNT_COLUMNS}
FROM (SELECT {_NEWEST} AS seq) AS newest
LEFT JOIN (
    (SELECT o.* FROM ledger_accounts o WHERE o.owner_id = $1 AND o.seq > $3 ORDER BY o.seq LIMIT $2)
    UNION
    (SELECT h.* FROM ledger_accounts h WHERE h.id = ANY($4::uuid[]) AND h.seq > $3)
    ORDER BY seq LIMIT $2
) AS a ON true
ORDER BY a.seq
"""


@dataclass(frozen=True, slots=True)
class HistoryAsked:
    """Of whose account which page is asked for, with at most `most` transfers.

    `owner_id` None: of whomever the account is. `as_of_seq` and `before_seq` None: the list begins.
    """

    account_id: str
    owner_id: str | None
    as_of_seq: int | None
    before_seq: int | None
    most: int


@dataclass(frozen=True, slots=True)
class TransferPage:
    """Transfers as they were after the event `as_of_seq`, newest first."""

    as_of_seq: int
    transfers: Sequence[AsItIs]


async def histories(db: Executor, asked: Sequence[HistoryAsked]) -> dict[HistoryAsked, TransferPage]:
    """The pages that were asked for, but for those of accounts that do not exist or are another one's."""
    columns = [list(map(attrgetter(name), asked)) for name in HistoryAsked.__slots__]
    pages: dict[HistoryAsked, tuple[int, list[AsItIs]]] = {}
    for number, as_of, *row in await db.fetch(HISTORIES, *columns):
        _, transfers = pages.setdefault(asked[number - 1], (as_of, []))
        if row[0] is not None:
            transfers.append(as_it_is(row))
    return {each: _page(*found) for each, found in pages.items()}


async def transfers_of(
    db: Executor, owner_id: str, *, as_of_seq: int | None, before_seq: int | None, limit: int
) -> TransferPage:
    """Transfers from or to any account of the user, one between two of them once; None as in `HistoryAsked`."""
    rows = await db.fetch(_TRANSFERS_OF, owner_id, as_of_seq, before_seq, limit)
    return _page(rows[0][0], [as_it_is(tuple(row)[1:]) for row in rows if row[1] is not None])


async def accounts_as_of(
    db: Executor, owner_id: str, *, and_ids: Sequence[str], after_seq: int, limit: int
) -> tuple[int, list[AccountRow]]:
    """The newest event, and after it the user's accounts and those named, as :func:`ledger.accounts_of`."""
    rows = await db.fetch(_ACCOUNTS_AS_OF, owner_id, limit, after_seq, list(and_ids))
    return rows[0][0], [account_row(tuple(row)[1:]) for row in rows if row[1] is not None]


def _seq(found: AsItIs) -> int:
    return found[0].seq


def _page(as_of_seq: int, transfers: list[AsItIs]) -> TransferPage:
    transfers.sort(key=_seq, reverse=True)  # they come so as a rule, without a promise
    return TransferPage(as_of_seq, transfers)
