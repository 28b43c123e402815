"""What the peers that use asyncpg share: their schema, and a transfer and the reads as SQL.

What is done to make it fast: balance columns without an index and room on their pages (HOT updates); no index but the
two that a transfer needs (`HISTORY_INDEXES` are made where histories are read, and nowhere else); rows locked in the
order of their ids, so that no transaction is ever rolled back by a deadlock; asyncpg prepares each statement once per
connection. By `FUNCTION`, the strongest that a careful team would write, the whole transfer is one round trip and three
statements, whose plans PostgreSQL keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final = """
CREATE TABLE tokens (token text PRIMARY KEY, user_id uuid NOT NULL);
CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL,
    balance bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 70);
CREATE TABLE transfers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    debit_account_id uuid NOT NULL,
    credit_account_id uuid NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    inserted_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, idempotency_key)
);
"""
HISTORY_INDEXES: Final = """
CREATE INDEX ON transfers (debit_account_id, id);
CREATE INDEX ON transfers (credit_account_id, id);
"""
FUNCTION: Final = """
CREATE FUNCTION transfer(
    by_user uuid, by_key text, debit uuid, credit uuid, moved bigint,
    OUT refusal text, OUT replayed boolean, OUT id bigint, OUT inserted_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found int;
    owner uuid;
    available bigint;
    earlier transfers;
BEGIN
    replayed := false;
    SELECT count(*), min(locked.balance) FILTER (WHERE locked.id = debit),
           (array_agg(locked.owner_id) FILTER (WHERE locked.id = debit))[1]
      INTO found, available, owner
      FROM (SELECT accounts.id, owner_id, balance FROM accounts
             WHERE accounts.id IN (debit, credit) ORDER BY accounts.id FOR UPDATE) AS locked;
    IF found < 2 OR owner <> by_user THEN
        refusal := 'account_not_found';
    ELSIF available >= moved THEN
        INSERT INTO transfers (user_id, idempotency_key, debit_account_id, credit_account_id, amount)
        VALUES (by_user, by_key, debit, credit, moved) ON CONFLICT (user_id, idempotency_key) DO NOTHING
        RETURNING transfers.id, transfers.inserted_at INTO id, inserted_at;
        IF id IS NOT NULL THEN
            UPDATE accounts SET balance = balance + CASE accounts.id WHEN debit THEN -moved ELSE moved END
             WHERE accounts.id IN (debit, credit);
            RETURN;
        END IF;
    ELSE
        refusal := 'exceeds_credits';
    END IF;
    SELECT * INTO earlier FROM transfers WHERE user_id = by_user AND idempotency_key = by_key;
    IF earlier.id IS NOT NULL THEN
        IF (earlier.debit_account_id, earlier.credit_account_id, earlier.amount) = (debit, credit, moved) THEN
            refusal := NULL;
            replayed := true;
            id := earlier.id;
            inserted_at := earlier.inserted_at;
        ELSE
            refusal := 'key_used_for_another_transfer';
        END IF;
    END IF;
END $$;
"""

_LOCK: Final = (
    "SELECT id::text, owner_id::text, balance FROM accounts WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
)
_DEBIT: Final = "UPDATE accounts SET balance = balance - $2 WHERE id = $1"
_CREDIT: Final = "UPDATE accounts SET balance = balance + $2 WHERE id = $1"
_COLUMNS: Final = "id, debit_account_id::text, credit_account_id::text, amount, inserted_at"
_INSERT: Final = f"""
INSERT INTO transfers (user_id, idempotency_key, debit_account_id, credit_account_id, amount)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING {_COLUMNS}
"""
_FIND: Final = f"SELECT {_COLUMNS} FROM transfers WHERE user_id = $1 AND idempotency_key = $2"
_CALL: Final = "SELECT refusal, replayed, id, inserted_at FROM transfer($1, $2, $3, $4, $5)"
_SHOW: Final = f"""
SELECT {_COLUMNS} FROM transfers WHERE id = $1 AND (user_id = $2 OR EXISTS (
    SELECT FROM accounts WHERE accounts.id IN (debit_account_id, credit_account_id) AND owner_id = $2))
"""
_SIDE: Final = f"""
SELECT {_COLUMNS} FROM transfers WHERE {{side}}_account_id = $1 AND id < $3 ORDER BY transfers.id DESC LIMIT $4
"""
_HISTORY: Final = f"""
SELECT * FROM (({_SIDE.format(side="debit")}) UNION ALL ({_SIDE.format(side="credit")})) AS sides
 WHERE EXISTS (SELECT FROM accounts WHERE accounts.id = $1 AND owner_id = $2) ORDER BY id DESC LIMIT $4
"""


class Refused(Exception):
    """The transfer cannot be made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transfer, as it is asked for."""

    debit_account_id: str
    credit_account_id: str
    amount: int


async def post(connection: Any, user_id: str, key: str, wanted: Wanted) -> tuple[dict[str, Any], bool]:  # noqa: ANN401
    """Post a transfer in one transaction of six round trips; what is shown of it, and whether it was there before.

    Raises:
        Refused: why.
    """
    if wanted.debit_account_id == wanted.credit_account_id:
        raise Refused("accounts_must_be_different")
    try:
        async with connection.transaction():
            return await _move(connection, user_id, key, wanted), False
    except Refused:
        # Rolled back. A repeated key gets the original answer, also when there would be no money for it any more.
        row = await connection.fetchrow(_FIND, user_id, key)
        if row is None:
            raise
    if (row["debit_account_id"], row["credit_account_id"], row["amount"]) != (
        wanted.debit_account_id,
        wanted.credit_account_id,
        wanted.amount,
    ):
        raise Refused("key_used_for_another_transfer")
    return dict(row), True


async def _move(connection: Any, user_id: str, key: str, wanted: Wanted) -> dict[str, Any]:  # noqa: ANN401 - untyped
    debit, credit, amount = wanted.debit_account_id, wanted.credit_account_id, wanted.amount
    rows = {row["id"]: row for row in await connection.fetch(_LOCK, (debit, credit))}
    if debit not in rows or credit not in rows or rows[debit]["owner_id"] != user_id:
        raise Refused("account_not_found")
    if rows[debit]["balance"] < amount:
        raise Refused("exceeds_credits")
    await connection.execute(_DEBIT, debit, amount)
    await connection.execute(_CREDIT, credit, amount)
    row = await connection.fetchrow(_INSERT, user_id, key, debit, credit, amount)
    if row is None:
        raise Refused("key_used")
    return dict(row)


async def post_by_function(
    connection: Any,  # noqa: ANN401 - untyped
    user_id: str,
    key: str,
    wanted: Wanted,
) -> tuple[dict[str, Any], bool]:
    """As `post`, in one round trip, which is a transaction of its own."""
    debit, credit, amount = wanted.debit_account_id, wanted.credit_account_id, wanted.amount
    if debit == credit:
        raise Refused("accounts_must_be_different")
    row = await connection.fetchrow(_CALL, user_id, key, debit, credit, amount)
    if row["refusal"] is not None:
        raise Refused(row["refusal"])
    shown = {"id": row["id"], "debit_account_id": debit, "credit_account_id": credit, "amount": amount}
    return {**shown, "inserted_at": row["inserted_at"]}, row["replayed"]


async def show(connection: Any, user_id: str, transfer_id: int) -> dict[str, Any] | None:  # noqa: ANN401 - untyped
    """A transfer that is the user's to see, in one round trip."""
    row = await connection.fetchrow(_SHOW, transfer_id, user_id)
    return None if row is None else dict(row)


async def history(
    connection: Any,  # noqa: ANN401 - untyped
    user_id: str,
    account_id: str,
    before: int,
    limit: int,
) -> list[dict[str, Any]]:
    """The newest transfers of an account of the user's, below an id, in one round trip."""
    return [dict(row) for row in await connection.fetch(_HISTORY, account_id, user_id, before, limit)]
