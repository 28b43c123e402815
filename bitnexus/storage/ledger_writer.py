"""The ledger's own connection: what its single writer loads, and the one statement that writes a block.

The height of a block is the primary key of ``ledger_blocks``: whoever writes a height first has written it, every other
writer gets :class:`HeightTaken`. Transfer ids are unique for ever: a block that repeats one gets :class:`IdTaken`, and
nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import asyncpg

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage.database import application_name, reachable
from bitnexus.storage.ledger import ACCOUNT_COLUMNS, TRANSFER_COLUMNS, account_row, transfer_row
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, BlockToWrite, TransferRow

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

# The division is the last line of defence: it aborts the block if a balance to be changed is not there.
# For speed columns of ids and numbers come as the text of an array, which is made faster than asyncpg encodes one; a
# column of defaults only comes as an empty array, which unnest fills up with NULLs; the salts come in one piece.
_WRITE: Final = """
WITH block AS (
    INSERT INTO ledger_blocks (height, prev_hash, hash, tree_size, tree_root, peaks, time_us)
    VALUES ($1::bigint, $2, $3, $4, $5, $6, $7::bigint)
), opened AS (
    INSERT INTO ledger_accounts
        (id, owner_id, asset, code, flags, debits_posted, credits_posted, seq, salt, block, time_us)
    SELECT n.*, $1::bigint, $7::bigint
    FROM unnest($8::uuid[], $9::uuid[], $10::text[], $11::int[], $12::int[], $13::bigint[], $14::bigint[],
        $15::bigint[], $16::bytea[]) AS n
), changed AS (
    UPDATE ledger_accounts a SET debits_posted = n.debits, credits_posted = n.credits
    FROM unnest($17::text::uuid[], $18::text::bigint[], $19::text::bigint[]) AS n (id, debits, credits)
    WHERE a.id = n.id
    RETURNING 1
), recorded AS (
    INSERT INTO ledger_transfers
        (id, debit_account_id, credit_account_id, user_id, amount, seq, debit_balance, credit_balance, code, asset,
         description, metadata, refusal, salt, block, time_us)
    SELECT n.id, n.debit, n.credit, n.asker, n.amount, n.seq, n.debit_balance, n.credit_balance, coalesce(n.code, 0),
        n.asset, coalesce(n.description, ''), coalesce(n.metadata, ''), n.refusal,
        substring($33::bytea FROM 16 * n.number::int - 15 FOR 16), $1::bigint, $7::bigint
    FROM unnest($20::text::uuid[], $21::text::uuid[], $22::text::uuid[], $23::text::uuid[], $24::text::bigint[],
        $25::text::bigint[], $26::text::bigint[], $27::text::bigint[], $28::int[], $29::text::text[], $30::text[],
        $31::text[], $32::text[]) WITH ORDINALITY
        AS n (id, debit, credit, asker, amount, seq, debit_balance, credit_balance, code, asset, description, metadata,
            refusal, number)
)
SELECT 1 / (count(*) = $34::int)::int FROM changed
"""


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
                return cls(connection, await connection.prepare(_WRITE, timeout=timeout_s), timeout_s)
            except BaseException:
                connection.terminate()
                raise

    @property
    def closed(self) -> bool:
        """Whether it is known to be of no more use."""
        return bool(self._connection.is_closed())

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

    async def accounts(self, ids: Iterable[str]) -> list[AccountRow]:
        """Those of the accounts that exist.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(_ACCOUNTS, list(ids), timeout=self._timeout_s)
        return [account_row(row) for row in rows]

    async def transfers(self, ids: Iterable[str]) -> list[TransferRow]:
        """Those of the transfers whose ids are recorded.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        with _passing():
            rows = await self._connection.fetch(_TRANSFERS, list(ids), timeout=self._timeout_s)
        return [TransferRow(transfer_row(row), row["refusal"], row["salt"]) for row in rows]

    async def write(self, block: BlockToWrite) -> None:
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
                await self._write.fetchval(*_arguments(block), timeout=self._timeout_s)
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, _ROLLED_BACK):
                raise
            raise OutcomeUnknown from error.__cause__
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "ledger_transfers_pkey":
                raise IdTaken from error
            # The height, or with it a sequence number or a new account's id: PostgreSQL names what it meets first.
            raise HeightTaken(f"Block {block.row.height} is written already ({error.constraint_name}).") from error


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


def _arguments(block: BlockToWrite) -> Sequence[Any]:
    """The parameters of `_WRITE`, in order."""
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
        _words([id_ for id_, _, _ in totals]),
        _numbers([debits for _, debits, _ in totals]),
        _numbers([credits_ for _, _, credits_ in totals]),
        _words([t.transfer_id for t in transfers]),
        _words([t.debit_account_id for t in transfers]),
        _words([t.credit_account_id for t in transfers]),
        _words([t.user_id for t in transfers]),
        _numbers([t.amount for t in transfers]),
        _numbers([t.seq for t in transfers]),
        _numbers([t.debit_balance for t in transfers]),
        _numbers([t.credit_balance for t in transfers]),
        _unless_default([t.code for t in transfers]),
        _words([t.asset for t in transfers]),
        _unless_default([t.description for t in transfers]),
        _unless_default([t.metadata for t in transfers]),
        _unless_default(block.refusals),
        b"".join(block.salts),
        len(totals),
    )


def _words(values: list[str]) -> str:
    """The text of an array of UUIDs or assets: well-formed ones hold nothing that would have to be quoted."""
    return "{" + ",".join(values) + "}"


def _numbers(values: list[int]) -> str:
    """The text of an array of integers."""
    return "{" + str(values)[1:-1] + "}"


def _unless_default(values: Sequence[int | str | None]) -> Sequence[int | str | None]:
    """The column, or nothing if all of it is 0, "" or None."""
    return values if any(values) else ()
