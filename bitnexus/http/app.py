"""The web application of one front, put together: the one route table, the edge around it, the sockets beside it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bitnexus.config import get_settings
from bitnexus.http.api.account_commands import AccountCommands
from bitnexus.http.api.accounts import Accounts
from bitnexus.http.api.admin import Admin
from bitnexus.http.api.auth import Auth
from bitnexus.http.api.batches import Batches
from bitnexus.http.api.books import Books
from bitnexus.http.api.docs import Docs
from bitnexus.http.api.ledger import Ledger
from bitnexus.http.api.notifications import Notifications
from bitnexus.http.api.products import Products
from bitnexus.http.api.purchases import Purchases
from bitnexus.http.api.system import System
from bitnexus.http.api.transactions import Transactions
from bitnexus.http.api.user_limits import UserLimits
from bitnexus.http.api.users import Users
from bitnexus.http.api.webhooks import Webhooks
from bitnexus.http.channels.longpoll import LongPolls
from bitnexus.http.channels.socket import Sockets
from bitnexus.http.connections import Refusals, Runner
from bitnexus.http.correlation import RequestIds
from bitnexus.http.cors import Cors
from bitnexus.http.edge import Handler, edge, with_preflights
from bitnexus.http.fast_path import Begin, FastPath
from bitnexus.http.fast_reads import ReadsById, located
from bitnexus.http.room import Room
from bitnexus.http.routes import MAX_BODY_BYTES, Route, endpoint, immediate
from bitnexus.http.services import Services
from bitnexus.http.traffic import Traffic

SOCKET_PATH: Final = "/socket/websocket"
POLLING_PATH: Final = "/socket/longpoll"
#: Beyond the longest call, so that its own error is what a client sees.
TIME_LIMIT_MARGIN_S: Final = 5.0
KEEP_ALIVE_S: Final = 75.0
#: For answers that are made to leave.
LAST_ANSWERS_S: Final = 0.5


def route_table(services: Services) -> list[Route]:
    """Every route of the API: what is served, and what is described, come from this list."""
    resources = (
        Auth(services),
        Users(services),
        UserLimits(services),
        Accounts(services),
        AccountCommands(services),
        Transactions(services),
        Batches(services),
        Products(services),
        Purchases(services),
        Notifications(services),
        Ledger(services),
        Books(services),
        Webhooks(services),
        Admin(services),
        System(services),
    )
    routes = [route for resource in resources for route in resource.routes()]
    if get_settings().docs:
        routes += Docs(routes).routes()
    return routes


async def build_runner(
    services: Services, sockets: Sockets, long_polls: LongPolls, traffic: Traffic, cors: Cors | None
) -> Runner:
    """The application, ready to be given sites to listen at."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    time_limit_s = services.call_timeout_s + TIME_LIMIT_MARGIN_S
    exact: dict[tuple[str, str], Handler] = {}
    fast: dict[tuple[str, str], Begin] = {}
    reads = ReadsById()
    settings = get_settings()
    room = Room(traffic, settings.max_requests)
    for route in route_table(services):
        handler: Handler = endpoint(route, services.tokens, services.limits, time_limit_s)
        if not route.unlimited:
            handler = room.bounded(handler)
        added = app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
        if services.legacy is not None and services.legacy.takes(route.method, route.path):
            continue  # the router knows it, for what is not listed of it; no shorter way does
        if "{" not in route.path:
            exact[route.method, route.path] = handler
        if route.begin is not None:
            begin = immediate(route, services.tokens, services.limits)
            fast[route.method, route.path] = begin if route.unlimited else room.bounded_begin(begin)
        if route.begin_read is not None and added.resource is not None:
            reads.add(added.resource.canonical, located(route, services.tokens, services.limits, room.bounded_begin))
    # Past the application: what waits for the end of a socket with it costs each socket some memory.
    exact["GET", SOCKET_PATH] = aside = room.aside(sockets.handle)
    app.router.add_route("GET", SOCKET_PATH, aside)
    for method in ("GET", "POST", "OPTIONS"):
        app.router.add_route(method, POLLING_PATH, room.aside(long_polls.handle))
    request_ids = RequestIds()
    runner = Runner(
        app,
        Refusals(request_ids, services.metrics),
        FastPath(fast, reads.find, request_ids, services.metrics, traffic),
        most=settings.max_connections,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=LAST_ANSWERS_S,
        auto_decompress=False,  # bodies are taken as they are; a compressed one is refused
    )
    await runner.setup()
    server = runner.server
    assert server is not None
    by_router = server.request_handler if cors is None else with_preflights(server.request_handler, cors)
    if services.legacy is not None:
        by_router = services.legacy.beside(by_router, app.router, traffic)
    server.request_handler = edge(by_router, exact, request_ids, services.metrics, traffic, cors=cors)
    return runner
