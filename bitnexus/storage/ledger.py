"""Reads of the ledger's tables: what fronts show and the notifier catches up with.

Every function takes an asyncpg connection or pool and sees committed blocks only. Histories hold posted transfers;
refused ones are recorded too (their ids are burned) and are seen by :func:`events_after` alone, as None.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

import asyncpg

from bitnexus.actors.messages import (
    ACCOUNT_ACTIONS,
    TRANSFER_KINDS,
    AccountChanged,
    AccountOpened,
    Transfer,
    TransferAnnotated,
)
from bitnexus.storage.ledger_rows import AccountRow, Annotated, BlockRow, EventPage


class Executor(Protocol):
    """What runs a query: a connection or a pool."""

    async def fetch(self, query: str, /, *args: object) -> list[Any]:
        """All rows."""

    async def fetchrow(self, query: str, /, *args: object) -> Any:  # noqa: ANN401 - asyncpg has no types
        """The first row, if there is one."""


#: Larger than any sequence number: "before_seq" of a first page.
END: Final = 2**63 - 1

ACCOUNT_COLUMNS: Final = (
    "a.id::text, a.owner_id::text, a.asset, a.code, a.flags, a.debits_posted, a.credits_posted, "
    "a.seq, a.block, a.time_us, a.salt, a.debits_pending, a.credits_pending, a.credit_limit, a.state"
)
TRANSFER_COLUMNS: Final = (
    "t.id::text, t.debit_account_id::text, t.credit_account_id::text, t.amount, t.asset, t.code, t.description, "
    "t.metadata, t.user_id::text, t.seq, t.block, t.time_us, t.debit_balance, t.credit_balance, "
    "t.kind, t.pending_id::text, t.reverses_id::text, t.timeout_s, t.refusal"
)

#: The kind of a transfer by its number.
KINDS: Final = {number: kind for kind, number in TRANSFER_KINDS.items()}
_ACTIONS: Final = {number: action for action, number in ACCOUNT_ACTIONS.items()}

_ACCOUNT: Final = f"SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a WHERE a.id = $1"

_ACCOUNTS_OF: Final = f"""
(SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a WHERE a.owner_id = $1 AND a.seq > $3 ORDER BY a.seq LIMIT $2)
UNION
(SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a WHERE a.id = ANY($4::uuid[]) AND a.seq > $3)
ORDER BY seq LIMIT $2
"""

_TRANSFERS_WITH_PAYERS: Final = f"""
SELECT {TRANSFER_COLUMNS}, payer.owner_id::text AS payer
FROM ledger_transfers t JOIN ledger_accounts payer ON payer.id = t.debit_account_id
WHERE t.id = ANY($1::uuid[]) AND t.refusal IS NULL
"""

# The oldest of each account and side by its index: a page costs the same however long the log is.
_TRANSFERS_OF_OWNERS: Final = f"""
SELECT DISTINCT ON (t.seq) {TRANSFER_COLUMNS}
FROM ledger_accounts AS account, LATERAL (
    (SELECT * FROM ledger_transfers d
     WHERE d.debit_account_id = account.id AND d.refusal IS NULL AND d.seq > $2 AND d.seq <= $3
     ORDER BY d.seq LIMIT $4)
    UNION ALL
    (SELECT * FROM ledger_transfers c
     WHERE c.credit_account_id = account.id AND c.refusal IS NULL AND c.seq > $2 AND c.seq <= $3
     ORDER BY c.seq LIMIT $4)
) AS t
WHERE account.owner_id = ANY($1::uuid[])
ORDER BY t.seq LIMIT $4
"""

_OTHER_PLACES_OF_OWNERS: Final = """
SELECT DISTINCT place.seq
FROM ledger_accounts AS account, LATERAL (
    (SELECT c.seq FROM ledger_account_changes c
     WHERE c.account_id = account.id AND c.seq > $2 AND c.seq <= $3 ORDER BY c.seq LIMIT $4)
    UNION ALL
    (SELECT n.seq FROM ledger_annotated_accounts n
     WHERE n.account_id = account.id AND n.seq > $2 AND n.seq <= $3 ORDER BY n.seq LIMIT $4)
) AS place
WHERE account.owner_id = ANY($1::uuid[])
ORDER BY place.seq LIMIT $4
"""

# One statement, so both tables are of one snapshot and no event is missing between two others.
_EVENTS: Final = f"""
SELECT {TRANSFER_COLUMNS} FROM ledger_transfers t WHERE t.seq > $1 AND t.seq <= $1 + $2
UNION ALL
SELECT a.id::text, NULL, NULL, NULL, a.asset, a.code, NULL, NULL, a.owner_id::text, a.seq, a.block, a.time_us,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM ledger_accounts a WHERE a.seq > $1 AND a.seq <= $1 + $2
UNION ALL
SELECT c.account_id::text, NULL, NULL, NULL, NULL, c.action, NULL, NULL, c.user_id::text, c.seq, c.block, c.time_us,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM ledger_account_changes c WHERE c.seq > $1 AND c.seq <= $1 + $2
UNION ALL
SELECT n.id::text, t.debit_account_id::text, t.credit_account_id::text, NULL, NULL, NULL, n.description, n.metadata,
    n.user_id::text, n.seq, n.block, n.time_us, NULL, NULL, NULL, n.transfer_id::text, NULL, NULL, NULL
FROM ledger_annotations n JOIN ledger_transfers t ON t.id = n.transfer_id WHERE n.seq > $1 AND n.seq <= $1 + $2
ORDER BY seq
"""

_OWNERS: Final = """
SELECT id::text, owner_id::text FROM ledger_accounts WHERE id = ANY($1::uuid[]) AND owner_id IS NOT NULL
"""

_LAST_BLOCK: Final = """
SELECT height, prev_hash, hash, tree_size, tree_root, peaks, time_us FROM ledger_blocks ORDER BY height DESC LIMIT 1
"""

_BLOCKS_BEFORE: Final = """
SELECT height, prev_hash, hash, tree_size, tree_root, peaks, time_us FROM ledger_blocks
WHERE height < $1 ORDER BY height DESC LIMIT $2
"""

_LAST_SEQ: Final = "SELECT tree_size - 1 FROM ledger_blocks ORDER BY height DESC LIMIT 1"


def account_row(row: asyncpg.Record) -> AccountRow:
    """An account from `ACCOUNT_COLUMNS`."""
    id_, owner_id, *rest = row
    return AccountRow(id_, owner_id or "", *rest)


def transfer_row(row: asyncpg.Record) -> Transfer:
    """A transfer from `TRANSFER_COLUMNS` (and whatever follows them)."""
    fields = tuple(row)
    kind, pending_id, reverses_id, timeout_s = fields[14:18]
    more = (KINDS.get(kind, ""), pending_id or "", reverses_id or "", timeout_s)
    return Transfer(*(fields[:14] + more))


async def account_by_id(db: Executor, account_id: str) -> AccountRow | None:
    """The account, if it exists."""
    row = await db.fetchrow(_ACCOUNT, account_id)
    return None if row is None else account_row(row)


async def accounts_of(
    db: Executor, owner_id: str, *, and_ids: Sequence[str] = (), after_seq: int = -1, limit: int = 1_000
) -> list[AccountRow]:
    """The user's accounts and those named, oldest first, those opened after the event `after_seq`."""
    return [account_row(row) for row in await db.fetch(_ACCOUNTS_OF, owner_id, limit, after_seq, list(and_ids))]


async def transfers_with_payers(db: Executor, transfer_ids: Collection[str]) -> dict[str, tuple[Transfer, str]]:
    """Those of the transfers that were carried out: id → the transfer, and the debit account's owner ("": nobody)."""
    if not transfer_ids:
        return {}
    rows = await db.fetch(_TRANSFERS_WITH_PAYERS, list(transfer_ids))
    return {row["id"]: (transfer_row(row), row["payer"] or "") for row in rows}


async def events_after(db: Executor, after_seq: int, *, limit: int = 1_000) -> EventPage:
    """The events of the log after `after_seq` (-1: from the first), at most `limit`, without a gap."""
    events: list[Transfer | AccountOpened | AccountChanged | TransferAnnotated | None] = []
    accounts: set[str] = set()
    parties: dict[str, tuple[str, str]] = {}
    owners: dict[str, str] = {}
    for row in await db.fetch(_EVENTS, after_seq, limit):
        if row["description"] is not None and row["asset"] is None:
            words = (row["description"], row["metadata"], row["user_id"])
            place = (row["seq"], row["block"], row["time_us"])
            events.append(TransferAnnotated(row["id"], row["pending_id"], *words, *place))
            parties[row["id"]] = (row["debit_account_id"], row["credit_account_id"])
            accounts.update(parties[row["id"]])
        elif row["asset"] is None:
            place = (row["seq"], row["block"], row["time_us"])
            events.append(AccountChanged(row["id"], _ACTIONS[row["code"]], row["user_id"], *place))
            accounts.add(row["id"])
        elif row["debit_account_id"] is None:
            owner_id = row["user_id"] or ""
            opened = (row["asset"], row["code"], row["seq"], row["block"], row["time_us"])
            events.append(AccountOpened(row["id"], owner_id, *opened))
            if owner_id:
                owners[row["id"]] = owner_id
        elif row["refusal"] is not None:
            events.append(None)
        else:
            transfer = transfer_row(row)
            events.append(transfer)
            accounts.update((transfer.debit_account_id, transfer.credit_account_id))
    owners.update(await _owners(db, accounts))
    return EventPage(after_seq + 1, events, owners, parties)


async def transfers_of_owners(
    db: Executor, owner_ids: Sequence[str], *, after_seq: int, up_to_seq: int, limit: int
) -> tuple[list[Transfer], dict[str, str]]:
    """Posted transfers from or to accounts of the users, oldest first, with `after_seq` < `seq` ≤ `up_to_seq`.

    Besides, account id → user id for the accounts in them. Fewer than `limit` transfers: there are no more.
    """
    rows = await db.fetch(_TRANSFERS_OF_OWNERS, list(owner_ids), after_seq, up_to_seq, limit)
    transfers = [transfer_row(row) for row in rows]
    return transfers, await _owners(db, {id_ for t in transfers for id_ in (t.debit_account_id, t.credit_account_id)})


async def other_places_of_owners(
    db: Executor, owner_ids: Sequence[str], *, after_seq: int, up_to_seq: int, limit: int
) -> list[int]:
    """Where accounts of the users were changed, or their transfers annotated, in order: `after_seq` < `seq`."""
    rows = await db.fetch(_OTHER_PLACES_OF_OWNERS, list(owner_ids), after_seq, up_to_seq, limit)
    return [row[0] for row in rows]


async def owners_of(db: Executor, events: Sequence[Transfer | AccountChanged | Annotated]) -> dict[str, str]:
    """The owners of the accounts that these events concern: account id → user id."""
    accounts: set[str] = set()
    for event in events:
        if isinstance(event, AccountChanged):
            accounts.add(event.account_id)
        else:
            accounts.update((event.debit_account_id, event.credit_account_id))
    return await _owners(db, accounts)


async def _owners(db: Executor, account_ids: Collection[str]) -> dict[str, str]:
    if not account_ids:
        return {}
    return dict(await db.fetch(_OWNERS, list(account_ids)))


async def last_block(db: Executor) -> BlockRow | None:
    """The newest committed block; None before the first."""
    row = await db.fetchrow(_LAST_BLOCK)
    return None if row is None else BlockRow(*row)


async def blocks_before(db: Executor, height: int = END, *, limit: int = 50) -> list[BlockRow]:
    """The blocks below a height, newest first."""
    return [BlockRow(*row) for row in await db.fetch(_BLOCKS_BEFORE, height, limit)]


async def last_seq(db: Executor) -> int:
    """The newest committed event; -1 before the first."""
    row = await db.fetchrow(_LAST_SEQ)
    return -1 if row is None else int(row[0])
