"""The ledger's own connection: what its single writer loads, and the one statement that writes a block.

The height of a block is the primary key of ``ledger_blocks``: whoever writes a height first has written it, every other
writer gets :class:`HeightTaken`. Transfer ids are unique for ever: a block that repeats one gets :class:`IdTaken`, and
nothing of it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import asyncpg

from bitnexus.actors.messages import TransferAnnotated
from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import binary_arrays
from bitnexus.storage.binary_arrays import uuid_array
from bitnexus.storage.database import application_name, reachable
from bitnexus.storage.ledger import ACCOUNT_COLUMNS, END, KINDS, TRANSFER_COLUMNS, account_row, transfer_row
from bitnexus.storage.ledger_annotations import BY_ID, LATEST, annotation_row
from bitnexus.storage.ledger_block import FULL, PLAIN, Statement
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, TransferRow

#: Every statement here finds its rows by key. The planner, which sees a table before it has grown, must not choose
#: otherwise, nor plan again for every block. And an acknowledged transfer is durable, whatever the server's default.
_SESSION: Final = {
    "synchronous_commit": "on",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

_LAST_BLOCK: Final = """
SELECT height, prev_hash, hash, tree_size, tree_root, peaks, time_us FROM ledger_blocks ORDER BY height DESC LIMIT 1
"""

_ACCOUNTS: Final = f"SELECT {ACCOUNT_COLUMNS} FROM ledger_accounts a WHERE a.id = ANY($1::uuid[])"

_TRANSFERS: Final = f"SELECT {TRANSFER_COLUMNS}, t.salt FROM ledger_transfers t WHERE t.id = ANY($1::uuid[])"

_SUBJECTS: Final = f"""
SELECT {TRANSFER_COLUMNS}, t.salt, r.kind AS resolution
FROM ledger_transfers t
LEFT JOIN ledger_transfers r ON coalesce(r.pending_id, r.reverses_id) = t.id
    AND r.refusal IS NULL AND coalesce(r.pending_id, r.reverses_id) IS NOT NULL
WHERE t.id = ANY($1::uuid[]) AND t.refusal IS NULL
"""

_NEXT_EXPIRY: Final = "SELECT min(expires_us) FROM ledger_timers WHERE expires_us > $1"

_START: Final = """
SELECT height, prev_hash, hash, tree_size, tree_root, peaks, time_us, (SELECT min(expires_us) FROM ledger_timers)
FROM ledger_blocks ORDER BY height DESC LIMIT 1
"""

_EXPIRED: Final = """
SELECT transfer_id::text FROM ledger_timers WHERE expires_us <= $1 ORDER BY expires_us, transfer_id LIMIT $2
"""


#: What is unique for a transfer's id. A block that repeats one can meet either first: PostgreSQL chooses the order.
_BY_TRANSFER_ID: Final = frozenset({"ledger_transfers_pkey", "ledger_timers_pkey"})


class HeightTaken(Exception):
    """The height is written already, by somebody else or by an earlier attempt; nothing of this block was written."""


class IdTaken(Exception):
    """A transfer id of the block is recorded already; nothing of the block was written."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection failed while a block was being written: it may be there or not."""


class LedgerConnection:
    """One session of the ledger's writer. Whatever goes wrong, it is closed and another one is opened."""

    def __init__(self, connection: asyncpg.Connection[Any], write: Any, timeout_s: float) -> None:  # noqa: ANN401 - asyncpg has no types
        self._connection = connection
        self._write = write
        self._write_full: Any = None  # prepared when it is needed first
        self._preparing = False
        self._timeout_s = timeout_s

    @classmethod
    async def open(cls, url: str, *, timeout_s: float = 10.0) -> Self:
        """Connect. `timeout_s` bounds the connecting and each statement.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        settings = _SESSION | {"application_name": application_name("ledger")}
        with _passing():
            connection = await asyncpg.connect(url, timeout=timeout_s, server_settings=settings)
            try:
                binary_arrays.use(connection)
                return cls(connection, await connection.prepare(PLAIN, timeout=timeout_s), timeout_s)
            except BaseException:
                connection.terminate()
                raise

    @property
    def closed(self) -> bool:
        """Whether it is known to be of no more use."""
        return bool(self._connection.is_closed())

    @property
    def has_sent(self) -> bool:
        """Whether all that was asked has left this process: a large statement goes in pieces, as the server reads."""
        transport: asyncio.Transport | None = self._connection._transport  # noqa: SLF001 - asyncpg does not tell
        return not self._preparing and (transport is None or not transport.get_write_buffer_size())

    @property
    def backend_pid(self) -> int:
        """The process id of the server's side."""
        return int(self._connection.get_server_pid())

    async def close(self) -> None:
        """Close it in order."""
        with _passing():
            await self._connection.close(timeout=self._timeout_s)

    def abort(self) -> None:
        """Close it at once."""
        self._connection.terminate()

    async def last_block(self) -> BlockRow | None:
        """The newest block.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            row = await self._connection.fetchrow(_LAST_BLOCK, timeout=self._timeout_s)
        return None if row is None else BlockRow(*row)

    async def start(self) -> tuple[BlockRow | None, int | None]:
        """All that a writer must know to begin, whatever the log's length: the newest block, and the next expiry in µs.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            row = await self._connection.fetchrow(_START, timeout=self._timeout_s)
        return (None, None) if row is None else (BlockRow(*tuple(row)[:7]), row[7])

    async def accounts(self, ids: Iterable[str]) -> list[AccountRow]:
        """Those of the accounts that exist.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(_ACCOUNTS, uuid_array(list(ids)), timeout=self._timeout_s)
        return [account_row(row) for row in rows]

    async def transfers(self, ids: Iterable[str]) -> list[TransferRow]:
        """Those of the transfers whose ids are recorded.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(_TRANSFERS, uuid_array(list(ids)), timeout=self._timeout_s)
        return [TransferRow(transfer_row(row), row["refusal"], row["salt"]) for row in rows]

    async def subjects(self, ids: Iterable[str]) -> list[TransferRow]:
        """Those of the transfers that were carried out, with what has resolved or reversed them.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(_SUBJECTS, uuid_array(list(ids)), timeout=self._timeout_s)
        return [TransferRow(transfer_row(row), None, row["salt"], KINDS.get(row["resolution"], "")) for row in rows]

    async def annotations(self, ids: Iterable[str]) -> dict[str, TransferAnnotated]:
        """Those of the annotations that exist, by their ids.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(BY_ID, uuid_array(list(ids)), timeout=self._timeout_s)
        found = map(annotation_row, rows)
        return {each.annotation_id: each for each in found}

    async def latest_annotations(self, transfer_ids: Iterable[str]) -> dict[str, TransferAnnotated]:
        """The latest annotation of each of the transfers that has any, by the transfer's id.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(LATEST, uuid_array(list(transfer_ids)), END, timeout=self._timeout_s)
        found = map(annotation_row, rows)
        return {each.transfer_id: each for each in found}

    async def next_expiry_us(self, after_us: int) -> int | None:
        """When the next pending transfer's time is over, after that time; None if no one's ever will be.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            found = await self._connection.fetchval(_NEXT_EXPIRY, after_us, timeout=self._timeout_s)
        return None if found is None else int(found)

    async def expired(self, now_us: int, *, limit: int) -> list[str]:
        """The ids of pending transfers whose time is over, longest ago first, at most `limit`.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(_EXPIRED, now_us, limit, timeout=self._timeout_s)
        return [row[0] for row in rows]

    async def write(self, block: Statement) -> None:
        """Write a block: all of it, durably, or nothing. One round trip.

        Raises:
            HeightTaken, IdTaken: it was not written.
            OutcomeUnknown: the connection failed meanwhile.
            DatabaseUnavailable: it was not written; it cannot be now.
        """
        if self._connection.is_closed():
            raise DatabaseUnavailable
        try:
            with _passing():
                await self._write_block(block)
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, _ROLLED_BACK):
                raise
            raise OutcomeUnknown from error.__cause__
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name in _BY_TRANSFER_ID:
                raise IdTaken from error
            # The height, or with it a sequence number or a new account's id: PostgreSQL names what it meets first.
            raise HeightTaken(f"Block {block.height} is written already ({error.constraint_name}).") from error

    async def _write_block(self, block: Statement) -> None:
        if not block.plain and self._write_full is None:
            self._preparing = True
            self._write_full = await self._connection.prepare(FULL, timeout=self._timeout_s)
            self._preparing = False
        statement = self._write if block.plain else self._write_full
        await statement.fetchval(*block.arguments, timeout=self._timeout_s)


#: Query cancelled by an operator, out of disk or memory, deadlock: like a lost connection they pass, and nothing of it
#: is the ledger's fault. Whatever else the server objects to is, and must crash it.
_PASSING: Final = (
    # asyncpg's protocol, when it is told of a lost connection at an unlucky moment.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)


#: After these the server itself says that nothing was written.
_ROLLED_BACK: Final = (
    asyncpg.InsufficientResourcesError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
)


@contextmanager
def _passing() -> Iterator[None]:
    with reachable():
        try:
            yield
        except _PASSING as error:
            raise DatabaseUnavailable from error
