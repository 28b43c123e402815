"""Reads of what the log's tree is made of: events by their place in it, and the kept inner nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from bitnexus.actors.messages import ACCOUNT_ACTIONS, AccountChanged, TransferAnnotated
from bitnexus.storage.ledger import ACCOUNT_COLUMNS, TRANSFER_COLUMNS, Executor, account_row, transfer_row
from bitnexus.storage.ledger_annotations import COLUMNS as ANNOTATION_COLUMNS
from bitnexus.storage.ledger_annotations import annotation_row
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, TransferRow

_ACTIONS: Final = {number: action for action, number in ACCOUNT_ACTIONS.items()}

_TRANSFERS: Final = f"SELECT {TRANSFER_COLUMNS}, t.salt FROM ledger_transfers t WHERE t.seq >= $1 AND t.seq < $2"
_ACCOUNTS: Final = f"SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a WHERE a.seq >= $1 AND a.seq < $2"
_CHANGES: Final = """
SELECT account_id::text, action, user_id::text, seq, block, time_us, salt
FROM ledger_account_changes WHERE seq >= $1 AND seq < $2
"""
_ANNOTATIONS: Final = f"SELECT {ANNOTATION_COLUMNS}, n.salt FROM ledger_annotations n WHERE n.seq >= $1 AND n.seq < $2"
_TRANSFER: Final = f"SELECT {TRANSFER_COLUMNS}, t.salt FROM ledger_transfers t WHERE t.id = $1"
_BLOCKS: Final = """
SELECT height, prev_hash, hash, tree_size, tree_root, peaks, time_us FROM ledger_blocks
WHERE height > $1 ORDER BY height LIMIT $2
"""
_FIRST_EVENT: Final = """
SELECT min(seq) FROM (
    SELECT seq FROM ledger_transfers WHERE seq >= $1 OR seq < 0
    UNION ALL SELECT seq FROM ledger_accounts WHERE seq >= $1 OR seq < 0
    UNION ALL SELECT seq FROM ledger_account_changes WHERE seq >= $1 OR seq < 0
    UNION ALL SELECT seq FROM ledger_annotations WHERE seq >= $1 OR seq < 0
) AS beyond
"""
_ACCOUNTS_AFTER: Final = f"SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a WHERE a.seq > $1 ORDER BY a.seq LIMIT $2"
# Of level L a tree of $1 events has the nodes 0 … ($1 >> 8·L) - 1.
_SURPLUS_NODE: Final = """
SELECT level, number FROM ledger_nodes
WHERE number < 0 OR level > 7 OR number >= ($1::bigint >> (8 * level)) ORDER BY level, number LIMIT 1
"""
_ADD_NODES: Final = """
INSERT INTO ledger_nodes (level, number, hash) SELECT n.* FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS n
ON CONFLICT DO NOTHING
"""
_NODES: Final = "SELECT number, hash FROM ledger_nodes WHERE level = $1 AND number >= $2 AND number < $3"


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """An account frozen, unfrozen or closed."""

    event: AccountChanged
    salt: bytes


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """A transfer was given other words."""

    event: TransferAnnotated
    salt: bytes


#: Any event of the log as it is stored.
StoredEvent: TypeAlias = TransferRow | AccountRow | ChangeRow | AnnotationRow


async def events_between(db: Executor, first_seq: int, end_seq: int) -> list[StoredEvent]:
    """The stored events with `first_seq` ≤ seq < `end_seq`, refusals among them, in no order.

    Committed ones never change, so it makes no difference that these are several queries.
    """
    transfers = await db.fetch(_TRANSFERS, first_seq, end_seq)
    accounts = await db.fetch(_ACCOUNTS, first_seq, end_seq)
    changes = await db.fetch(_CHANGES, first_seq, end_seq)
    annotations = await db.fetch(_ANNOTATIONS, first_seq, end_seq)
    return [
        *(TransferRow(transfer_row(row), row["refusal"], row["salt"]) for row in transfers),
        *(account_row(row) for row in accounts),
        *(
            ChangeRow(AccountChanged(row[0], _ACTIONS.get(row[1], ""), *tuple(row)[2:6]), row["salt"])
            for row in changes
        ),
        *(AnnotationRow(annotation_row(row), row["salt"]) for row in annotations),
    ]


async def transfer_with_salt(db: Executor, transfer_id: str) -> TransferRow | None:
    """The transfer, refused or not, if there is one."""
    row = await db.fetchrow(_TRANSFER, transfer_id)
    return None if row is None else TransferRow(transfer_row(row), row["refusal"], row["salt"])


async def nodes_between(db: Executor, level: int, first: int, end: int) -> dict[int, bytes]:
    """The kept nodes of a level with `first` ≤ number < `end`: number → hash."""
    return {row[0]: row[1] for row in await db.fetch(_NODES, level, first, end)}


async def blocks_after(db: Executor, height: int, *, limit: int) -> list[BlockRow]:
    """The blocks above a height, lowest first."""
    return [BlockRow(*row) for row in await db.fetch(_BLOCKS, height, limit)]


async def first_event_from(db: Executor, seq: int) -> int | None:
    """The lowest `seq` of an event from there on, or a negative one; None if there is none."""
    row = await db.fetchrow(_FIRST_EVENT, seq)
    return None if row is None or row[0] is None else int(row[0])


async def accounts_after(db: Executor, seq: int, *, limit: int) -> list[AccountRow]:
    """The accounts that were opened after the event `seq`, in the order in which they were."""
    return [account_row(row) for row in await db.fetch(_ACCOUNTS_AFTER, seq, limit)]


async def lowest_node(db: Executor, level: int) -> int | None:
    """The lowest number of the kept nodes of a level; None if none is kept."""
    row = await db.fetchrow("SELECT min(number) FROM ledger_nodes WHERE level = $1", level)
    return None if row is None else row[0]


async def surplus_node(db: Executor, tree_size: int) -> tuple[int, int] | None:
    """Level and number of the first kept node that a tree of that size does not have; None if there is none."""
    row = await db.fetchrow(_SURPLUS_NODE, tree_size)
    return None if row is None else (row[0], row[1])


async def add_nodes(db: Executor, nodes: Sequence[tuple[int, int, bytes]]) -> None:
    """Keep nodes, given as level, number and hash; those that are kept already stay as they are."""
    await db.fetch(_ADD_NODES, *map(list, zip(*nodes, strict=True)))


async def all_timers(db: Executor) -> dict[str, int]:
    """Every timer: id of the pending transfer → when its time is over, in µs."""
    return {row[0]: row[1] for row in await db.fetch("SELECT transfer_id::text, expires_us FROM ledger_timers")}
