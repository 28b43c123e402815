"""The peer: transfers as a careful aiohttp + asyncpg team would serve them.

    python -m bench.peers.aiohttp_asyncpg --database-url … --port … [--processes 2] [--pool-size 10] [--function]

A POST looks the bearer token up, validates the body, and posts the transfer: in one database transaction, or with
``--function`` by one call of a function in the server (`bench.peers.transfer_sql`). A GET shows a transfer, or a page
of an account's history.

What is done to make it fast: uvloop; a process per core, which share the port by SO_REUSEPORT; prepared statements
(asyncpg keeps them per connection); tokens in memory; msgspec for JSON and validation in one pass; no access log; what
is there at the start is frozen for the garbage collector. With ``--no-reset`` the pool leaves out the query by which it
resets a connection that is given back: few know of it, and it saves one round trip of seven, or with ``--function`` one
of two.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import asyncpg
import msgspec
import uvloop
from aiohttp import web

from bench.peers.transfer_sql import Refused, Wanted, history, post, post_by_function, show

PATH: Final = "/api/v1/transactions"
HISTORY_PATH: Final = "/api/v1/accounts/{id}/history"
_MAX_PAGE: Final = 200
_FROM_NEWEST: Final = 2**63 - 1

AccountId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Amount = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Post = Callable[[Any, str, str, Wanted], Awaitable[tuple[dict[str, Any], bool]]]


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transfer."""

    debit_account_id: AccountId
    credit_account_id: AccountId
    amount: Amount


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    transaction: Fields


_decode = msgspec.json.Decoder(Body).decode
_encode = msgspec.json.Encoder().encode


class Server:
    """One process's handlers, its tokens and its pool."""

    def __init__(self, pool: asyncpg.Pool[Any], tokens: dict[str, str], post: Post) -> None:
        self._pool, self._tokens, self._post = pool, tokens, post

    def routes(self) -> list[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, self.create),
            web.get(PATH + "/{id}", self.show),
            web.get(HISTORY_PATH, self.history),
        ]

    def _user(self, request: web.Request) -> str | None:
        return self._tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))

    async def create(self, request: web.Request) -> web.Response:
        """POST of a transfer: 201, or 200 for a key that was used for the same transfer before."""
        user_id = self._user(request)
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
        wanted = Wanted(fields.debit_account_id, fields.credit_account_id, fields.amount)
        try:
            async with self._pool.acquire() as connection:
                shown, replayed = await self._post(connection, user_id, key, wanted)
        except Refused as refusal:
            return _answer(422, {"error": str(refusal)})
        return _answer(200 if replayed else 201, {"data": shown})

    async def show(self, request: web.Request) -> web.Response:
        """GET of a transfer by its id."""
        user_id = self._user(request)
        if user_id is None:
            return _answer(401, {"error": "unauthorized"})
        try:
            transfer_id = int(request.match_info["id"])
        except ValueError:
            return _answer(404, {"error": "not_found"})
        async with self._pool.acquire() as connection:
            shown = await show(connection, user_id, transfer_id)
        return _answer(404, {"error": "not_found"}) if shown is None else _answer(200, {"data": shown})

    async def history(self, request: web.Request) -> web.Response:
        """GET of a page of an account's history, newest first."""
        user_id = self._user(request)
        if user_id is None:
            return _answer(401, {"error": "unauthorized"})
        try:
            account_id = msgspec.convert(request.match_info["id"], AccountId)
            before = int(request.query.get("before", _FROM_NEWEST))
            limit = min(int(request.query.get("limit", 20)), _MAX_PAGE)
        except (ValueError, msgspec.ValidationError):
            return _answer(422, {"error": "malformed"})
        async with self._pool.acquire() as connection:
            rows = await history(connection, user_id, account_id, before, limit + 1)
        following = rows[limit - 1]["id"] if len(rows) > limit else None
        return _answer(200, {"data": rows[:limit], "page": {"next": following, "has_more": following is not None}})


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
    app.add_routes(Server(pool, tokens, post_by_function if options.function else post).routes())
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
    parser.add_argument("--function", action="store_true", help="a transfer is one call of a function in the server")
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
