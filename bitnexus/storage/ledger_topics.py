"""The log as the topics of one user tell of it: how many events up to a place, and the last ones before it.

What counts is what actors.notifier.events makes of the log: the two are one rule written twice, and a test holds them
together. Every function sees committed blocks only, and what it says of a position stays true for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from bitnexus.actors.messages import (
    ACCOUNT_ACTIONS,
    AccountChanged,
    Transfer,
)
from bitnexus.storage.ledger import TRANSFER_COLUMNS, transfer_row
from bitnexus.storage.ledger_annotations import COLUMNS as ANNOTATION_COLUMNS
from bitnexus.storage.ledger_annotations import annotation_row
from bitnexus.storage.ledger_rows import Annotated

#: An event that concerns one user.
UserEvent: TypeAlias = Transfer | AccountChanged | Annotated

#: A count that had so many events to go through is kept, so that the next one begins where it ended.
KEPT_FROM: Final = 1_000

_ACTIONS: Final = {number: action for action, number in ACCOUNT_ACTIONS.items()}

# Each is one or more sets of places in the log; a place that is in two of them counts once. %s bounds `seq`.
_DEBITS: Final = "SELECT t.seq FROM ledger_transfers t WHERE t.debit_account_id = own.id AND t.refusal IS NULL AND %s"
_CREDITS: Final = "SELECT t.seq FROM ledger_transfers t WHERE t.credit_account_id = own.id AND t.refusal IS NULL AND %s"
_ANNOTATED: Final = "SELECT t.seq FROM ledger_annotated_accounts t WHERE t.account_id = own.id AND %s"
_CHANGED: Final = "SELECT t.seq FROM ledger_account_changes t WHERE t.account_id = own.id AND %s"
_RESOLVING: Final = "t.kind > 2 AND %s"
#: Expired ones and reversals: of these the debit account's owner is told as well.
_TOLD_TO_DEBTOR: Final = "t.kind > 2 AND t.kind IN (5, 6) AND %s"

#: By the family of the topic: sets of places where it has an event, and sets of those where it has one more.
_ONE: Final = {
    "transaction": (_DEBITS, _CREDITS, _ANNOTATED),
    "notification": (_CREDITS, _DEBITS % _TOLD_TO_DEBTOR, _CHANGED),
}
_ONE_MORE: Final = {"transaction": (_DEBITS % _RESOLVING, _CREDITS % _RESOLVING), "notification": ()}

_OWN: Final = "(SELECT id FROM ledger_accounts WHERE owner_id = $1::uuid) AS own"


def _count(sets: Sequence[str]) -> str:
    bound = "t.seq > $2 AND t.seq <= $3"
    places = " UNION ".join(f"SELECT found.seq FROM {_OWN}, LATERAL ({each % bound}) AS found" for each in sets)
    return f"(SELECT count(*) FROM ({places}) AS places)"


def _newest(sets: Sequence[str]) -> str:
    # The newest of each account by its index, then the newest of those.
    bound = "t.seq <= $2 ORDER BY t.seq DESC LIMIT $3::bigint + $4::bigint"
    places = " UNION ".join(f"SELECT found.seq FROM {_OWN}, LATERAL ({each % bound}) AS found" for each in sets)
    return f"SELECT seq FROM ({places}) AS places ORDER BY seq DESC LIMIT $3 OFFSET $4"


_COUNTS: Final = {
    family: "SELECT " + " + ".join(_count(sets) for sets in (_ONE[family], _ONE_MORE[family]) if sets)
    for family in _ONE
}
_PLACES: Final = {family: _newest(sets) for family, sets in _ONE.items()}

_KEPT: Final = "SELECT position, events FROM topic_counts WHERE user_id = $1 AND family = $2 AND position <= $3"
_KEEP: Final = """
INSERT INTO topic_counts AS c (user_id, family, position, events) VALUES ($1, $2, $3, $4)
ON CONFLICT (user_id, family) DO UPDATE SET position = $3, events = $4 WHERE c.position < $3
"""

_TRANSFERS: Final = f"SELECT {TRANSFER_COLUMNS} FROM ledger_transfers t WHERE t.seq = ANY($1::bigint[])"
_CHANGES: Final = """
SELECT account_id::text, action, user_id::text, seq, block, time_us
FROM ledger_account_changes WHERE seq = ANY($1::bigint[])
"""
_ANNOTATIONS: Final = f"""
SELECT {ANNOTATION_COLUMNS}, t.debit_account_id::text, t.credit_account_id::text
FROM ledger_annotations n JOIN ledger_transfers t ON t.id = n.transfer_id WHERE n.seq = ANY($1::bigint[])
"""
_ACCOUNTS_OF: Final = "SELECT id::text FROM ledger_accounts WHERE owner_id = $1"

# The first block tells logs apart that began apart. A log that was restored began as the one that was lost: another
# database (its number), another server, and a server that was set back in time (its timeline) make it another one. Of a
# copy of the server's files nothing tells: whoever puts one back says so (`begin_epoch`).
_IDENTITY: Final = """
SELECT (SELECT hash FROM ledger_blocks WHERE height = 1),
    (SELECT oid::text FROM pg_database WHERE datname = current_database()),
    (SELECT system_identifier::text FROM pg_control_system()),
    (SELECT timeline_id::text FROM pg_control_checkpoint()),
    (SELECT id::text FROM log_epochs ORDER BY number DESC LIMIT 1)
"""


class Executor(Protocol):
    """What runs a query: a connection or a pool."""

    async def execute(self, query: str, /, *args: object) -> str:
        """The command's tag."""

    async def fetch(self, query: str, /, *args: object) -> list[Any]:
        """All rows."""

    async def fetchrow(self, query: str, /, *args: object) -> Any:  # noqa: ANN401 - asyncpg has no types
        """The first row, if there is one."""


async def epoch_of_log(db: Executor) -> str | None:
    """What tells this log from every other one, as 16 hexadecimal digits; None before its first block."""
    first_block, *place = await db.fetchrow(_IDENTITY)
    if first_block is None:
        return None
    return hashlib.sha256(b"\n".join([bytes(first_block), *(str(each).encode() for each in place)])).hexdigest()[:16]


async def begin_epoch(db: Executor) -> None:
    """From now on this log is another one than it was."""
    await db.execute("INSERT INTO log_epochs DEFAULT VALUES")


async def count_events(db: Executor, family: str, user_id: str, up_to_seq: int) -> int:
    """How many events the user's topic of that family has had up to the log's event `up_to_seq`."""
    kept = await db.fetchrow(_KEPT, user_id, family, up_to_seq)
    position, before = (-1, 0) if kept is None else (kept[0], kept[1])
    row = await db.fetchrow(_COUNTS[family], user_id, position, up_to_seq)
    events = before + int(row[0])
    if events - before >= KEPT_FROM:
        await db.execute(_KEEP, user_id, family, up_to_seq, events)
    return events


async def last_events(
    db: Executor, family: str, user_id: str, *, up_to_seq: int, limit: int, skip: int = 0
) -> tuple[list[UserEvent], dict[str, str]]:
    """The last `limit` events of the log up to `up_to_seq`, but `skip`, that the topic tells of, oldest first.

    Besides, account id → user id for the user's own accounts.
    """
    places = [row[0] for row in await db.fetch(_PLACES[family], user_id, up_to_seq, limit, skip)]
    owners = {row[0]: user_id for row in await db.fetch(_ACCOUNTS_OF, user_id)}
    return await events_at(db, places), owners


async def events_at(db: Executor, places: Sequence[int]) -> list[UserEvent]:
    """The transfers, changes of accounts and annotations at these places of the log, in order."""
    found: list[tuple[int, UserEvent]] = []
    for row in await db.fetch(_TRANSFERS, places):
        transfer = transfer_row(row)
        found.append((transfer.seq, transfer))
    if len(found) < len(places):
        changes = await db.fetch(_CHANGES, places)
        found += [(row[3], AccountChanged(row[0], _ACTIONS[row[1]], *tuple(row)[2:])) for row in changes]
        for row in await db.fetch(_ANNOTATIONS, places):
            words = annotation_row(row)
            found.append((words.seq, Annotated(words, *tuple(row)[-2:])))
    return [event for _, event in sorted(found, key=lambda item: item[0])]
