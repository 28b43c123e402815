"""The peer: a transfer as a careful aiohttp + asyncpg team would write it, one database transaction per request.

    python -m bench.peers.aiohttp_asyncpg --database-url … --port … [--processes 2] [--pool-size 10]

What it does for a POST: looks the bearer token up, validates the body, then in one transaction locks both rows in the
order of their ids, checks owner and balance, updates both, inserts the transfer under its idempotency key, commits.

What is done to make it fast: uvloop; a process per core, which share the port by SO_REUSEPORT; prepared statements
(asyncpg keeps them per connection); tokens in memory; msgspec for JSON and validation in one pass; no access log; what
is there at the start is frozen for the garbage collector; balance columns without an index and room on their pages (HOT
updates); no index but the two that the job needs. With ``--no-reset`` the pool leaves out the query by which it resets
a connection that is given back: few know of it, and it saves one round trip of seven.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
from typing import Annotated, Any, Final

import asyncpg
import msgspec
import uvloop
from aiohttp import web

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
PATH: Final = "/api/v1/transactions"

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

AccountId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Amount = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transfer."""

    debit_account_id: AccountId
    credit_account_id: AccountId
    amount: Amount


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    transaction: Fields


class Refused(Exception):
    """The transfer cannot be made."""


_decode = msgspec.json.Decoder(Body).decode
_encode = msgspec.json.Encoder().encode


class Server:
    """One process's handler, its tokens and its pool."""

    def __init__(self, pool: asyncpg.Pool[Any], tokens: dict[str, str]) -> None:
        self._pool = pool
        self._tokens = tokens

    async def create(self, request: web.Request) -> web.Response:
        """POST of a transfer: 201, or 200 for a key that was used for the same transfer before."""
        user_id = self._tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if user_id is None:
            return _answer(401, {"error": "unauthorized"})
        key = request.headers.get("Idempotency-Key", "")
        if not 1 <= len(key) <= 255:  # noqa: PLR2004 - as the Idempotency-Key draft's users do
            return _answer(422, {"error": "idempotency_key"})
        try:
            fields = _decode(await request.read()).transaction
        except msgspec.ValidationError as error:
            return _answer(422, {"error": str(error)})
        except msgspec.DecodeError:
            return _answer(400, {"error": "malformed"})
        try:
            async with self._pool.acquire() as connection:
                row, replayed = await _post(connection, user_id, key, fields)
        except Refused as refusal:
            return _answer(422, {"error": str(refusal)})
        return _answer(200 if replayed else 201, {"data": dict(row)})


async def _post(connection: Any, user_id: str, key: str, fields: Fields) -> tuple[Any, bool]:  # noqa: ANN401 - untyped
    """The transfer's row, and whether it was there before."""
    if fields.debit_account_id == fields.credit_account_id:
        raise Refused("accounts_must_be_different")
    try:
        async with connection.transaction():
            return await _move(connection, user_id, key, fields), False
    except Refused:
        # Rolled back. A repeated key gets the original answer, also when there would be no money for it any more.
        row = await connection.fetchrow(_FIND, user_id, key)
        if row is None:
            raise
    wanted = (fields.debit_account_id, fields.credit_account_id, fields.amount)
    if (row["debit_account_id"], row["credit_account_id"], row["amount"]) != wanted:
        raise Refused("key_used_for_another_transfer")
    return row, True


async def _move(connection: Any, user_id: str, key: str, fields: Fields) -> Any:  # noqa: ANN401 - untyped
    debit, credit, amount = fields.debit_account_id, fields.credit_account_id, fields.amount
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
    return row


def _answer(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=_encode(body), content_type="application/json")


async def _no_reset(connection: object) -> None:
    """Nothing that would have to be reset is ever set."""


async def _serve(options: argparse.Namespace) -> None:
    pool = await asyncpg.create_pool(
        options.database_url,
        min_size=options.pool_size,
        max_size=options.pool_size,
        **({"reset": _no_reset} if options.no_reset else {}),
        server_settings={"application_name": "peer"},
    )
    tokens = {row["token"]: str(row["user_id"]) for row in await pool.fetch("SELECT token, user_id FROM tokens")}
    app = web.Application()
    app.router.add_post(PATH, Server(pool, tokens).create)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port, backlog=1024, reuse_port=True).start()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()
    await pool.close()


def main() -> None:
    """Fork the processes and serve; every process prints ``ready``. SIGTERM to the process group ends them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pool-size", type=int, default=10, help="connections of each process")
    parser.add_argument("--no-reset", action="store_true", help="connections are given back as they are")
    options = parser.parse_args()
    children: list[int] = []
    for _ in range(options.processes - 1):
        pid = os.fork()
        if pid == 0:
            children.clear()
            break
        children.append(pid)
    uvloop.run(_serve(options))
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
