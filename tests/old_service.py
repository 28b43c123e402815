"""A small old service: ``python -m tests.old_service PORT``. It has tokens, products and reports of its own."""

from __future__ import annotations

import sys

from aiohttp import web

EMAIL, PASSWORD = "ann@old.example", "of the old days"
TOKEN = "opaque-token-of-the-old-service"
BALANCES = {"ann@old.example": 12_500, "ben@old.example": 700}
PRODUCTS = [{"id": 7, "name": "Anvil"}]


def _known(request: web.Request) -> None:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        raise web.HTTPUnauthorized


async def login(request: web.Request) -> web.Response:
    """The token, for who knows the password."""
    if await request.json() != {"email": EMAIL, "password": PASSWORD}:
        raise web.HTTPUnauthorized
    return web.json_response({"token": TOKEN})


async def products(request: web.Request) -> web.Response:
    """All products, for who has the token."""
    _known(request)
    return web.json_response({"products": PRODUCTS})


async def report(request: web.Request) -> web.Response:
    """Any report, for anybody."""
    return web.json_response({"report": request.match_info["name"], "old": True})


async def balances(request: web.Request) -> web.Response:
    """What its books say."""
    _known(request)
    return web.json_response(BALANCES)


def main() -> None:
    """Serve until SIGTERM."""
    app = web.Application()
    app.router.add_post("/api/v1/auth/login", login)
    app.router.add_get("/api/v1/products", products)
    app.router.add_get("/api/v1/reports/{name}", report)
    app.router.add_get("/api/v1/exports/balances", balances)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, shutdown_timeout=0.1)


if __name__ == "__main__":
    main()
