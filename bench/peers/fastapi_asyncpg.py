"""The peer: transfers as a careful FastAPI + uvicorn + asyncpg team would serve them.

    python -m bench.peers.fastapi_asyncpg --database-url … --port … [--workers 2] [--pool-size 10]

The same job as `bench.peers.aiohttp_asyncpg`, one database transaction per request, written the way FastAPI's own
documentation teaches it: the token is a dependency, the body a pydantic model, the pool part of the lifespan.

What is done to make it fast: uvloop and httptools; a worker per core; ``async def`` all through, so that nothing goes
to a thread; tokens in memory; the answer is encoded by orjson and sent as it is, without a response model; no access
log, no date and server headers; no middleware; documentation routes off; what is there at the start is frozen for the
garbage collector.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import asyncpg
import orjson
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from bench.peers.transfer_sql import Refused, Wanted, post

PATH: Final = "/api/v1/transactions"
#: Where the workers, which uvicorn spawns, find what the command was told.
_URL: Final = "PEER_DATABASE_URL"
_POOL_SIZE: Final = "PEER_POOL_SIZE"

AccountId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]


class Fields(BaseModel):
    """A transfer."""

    model_config = ConfigDict(extra="forbid")
    debit_account_id: AccountId
    credit_account_id: AccountId
    amount: Annotated[int, Field(ge=1, le=2**53 - 1)]


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")
    transaction: Fields


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The pool and the tokens."""
    size = int(os.environ[_POOL_SIZE])
    async with asyncpg.create_pool(
        os.environ[_URL], min_size=size, max_size=size, server_settings={"application_name": "peer"}
    ) as pool:
        rows = await pool.fetch("SELECT token, user_id FROM tokens")
        app.state.tokens = {row["token"]: str(row["user_id"]) for row in rows}
        app.state.pool = pool
        gc.collect()
        gc.freeze()
        print("ready", flush=True)
        yield


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


async def current_user(request: Request, authorization: Annotated[str, Header()] = "") -> str:
    """The user whose token it is."""
    user_id: str | None = request.app.state.tokens.get(authorization.removeprefix("Bearer "))
    if user_id is None:
        raise HTTPException(401, "unauthorized")
    return user_id


@app.post(PATH)
async def create(
    request: Request,
    body: Body,
    user_id: Annotated[str, Depends(current_user)],
    idempotency_key: Annotated[str, Header(min_length=1, max_length=255)],
) -> Response:
    """Post a transfer: 201, or 200 for a key that was used for the same transfer before."""
    fields = body.transaction
    wanted = Wanted(fields.debit_account_id, fields.credit_account_id, fields.amount)
    try:
        async with request.app.state.pool.acquire() as connection:
            shown, replayed = await post(connection, user_id, idempotency_key, wanted)
    except Refused as refusal:
        raise HTTPException(422, str(refusal)) from refusal
    return _answer(200 if replayed else 201, {"data": shown})


def _answer(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")


def main() -> None:
    """Serve; every worker prints ``ready``. SIGTERM to the process group ends them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pool-size", type=int, default=10, help="connections of each worker")
    options = parser.parse_args()
    os.environ[_URL], os.environ[_POOL_SIZE] = options.database_url, str(options.pool_size)
    uvicorn.run(
        "bench.peers.fastapi_asyncpg:app",
        host="127.0.0.1",
        port=options.port,
        workers=options.workers,
        loop="uvloop",
        http="httptools",
        backlog=1024,
        access_log=False,
        date_header=False,
        server_header=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
