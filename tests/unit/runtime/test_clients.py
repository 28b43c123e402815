"""A process and its clients, in one loop: who is let in, how many, for how long, and what bounds them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from bitnexus.actors.runtime import incoming
from bitnexus.actors.runtime import peers as peers_module
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.handshake import Keys
from bitnexus.actors.runtime.message import Done, GetMetrics, GetNames, Message, Names
from bitnexus.actors.runtime.node import Node
from bitnexus.actors.runtime.peers import Peers
from bitnexus.errors import Forbidden, Overloaded, ProcessDown, Unauthorized
from bitnexus.tokens import AccessTokens

COOKIE, SECRET = b"c" * 32, b"s" * 32
USER = str(uuid.UUID(int=1, version=4))
TOKENS = AccessTokens("k" * 64, 60)
PATIENCE_S = 5.0


class Server:
    """A process that takes GetNames and GetMetrics from clients; it keeps the latter without an answer."""

    def __init__(self) -> None:
        self.peers = Peers(asyncio.get_running_loop(), Keys.derive(COOKIE, SECRET), lambda *_: False)
        self.peers.tokens = TOKENS
        self.node = Node(self.peers, self._dispatch, lambda: None, _raise)
        self.node.open_to_clients = frozenset({GetNames, GetMetrics})
        self.taken = 0

    def _dispatch(self, message: Message, context: Context) -> None:
        self.taken += 1
        context.connection.open_calls += 1  # as a Process counts them
        if isinstance(message, GetNames):
            context.connection.open_calls -= 1
            context.reply(Names([]))


class Visitor:
    """A client of it."""

    def __init__(self, address: str, token: str = "") -> None:
        self.peers = Peers(asyncio.get_running_loop(), Keys.derive(COOKIE), lambda *_: False)
        self.peers.token = token
        self.node = Node(self.peers, lambda *_: None, lambda: None, _raise)
        self.connection: Connection = self.node.link(address, "")

    async def ask(self, message: Message) -> Message:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.node._ask(self.connection, message, answer.set_result)
        result = await asyncio.wait_for(answer, PATIENCE_S)
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Message)
        return result


def _raise(error: Exception) -> None:
    raise error


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.peers.listen("127.0.0.1", 0)
    yield made
    made.peers.close()
    await made.peers.closed_all()


@pytest.fixture
async def visit(server: Server) -> AsyncIterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def make(token: str = "") -> Visitor:
        visitors.append(Visitor(server.peers.address, token))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.peers.close()
        await visitor.peers.closed_all()


async def test_a_client_is_known_by_its_token(server: Server, visit: Callable[..., Visitor]) -> None:
    assert await visit(TOKENS.issue(USER, "service")).ask(GetNames()) == Names([])
    assert await visit().ask(GetNames()) == Names([])
    clients = [connection.client for connection in server.peers._all]
    assert {(client.user_id, client.role) for client in clients if client} == {(USER, "service"), ("", "")}


async def test_a_process_that_takes_no_clients_says_so(server: Server, visit: Callable[..., Visitor]) -> None:
    server.peers.tokens = None
    with pytest.raises(Forbidden, match="takes no clients"):
        await visit().ask(GetNames())


@pytest.mark.parametrize("token", ["a.b.c", "e30.e30.e30", TOKENS.issue(USER, "admin")[:-4] + "AAAA"])
async def test_a_token_that_nobody_issued_is_refused(visit: Callable[..., Visitor], token: str) -> None:
    with pytest.raises(Unauthorized, match="not valid"):
        await visit(token).ask(GetNames())


async def test_the_end_of_a_token_is_the_end_of_its_connection(visit: Callable[..., Visitor]) -> None:
    visitor = visit(AccessTokens("k" * 64, 2).issue(USER, "user"))
    assert await visitor.ask(GetNames()) == Names([])
    await until(lambda: visitor.connection.is_closed)


async def test_clients_beyond_the_bound_are_refused_until_others_leave(
    server: Server, visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "MAX_CLIENTS", 2)
    first, second = visit(), visit()
    await first.ask(GetNames())
    await second.ask(GetNames())
    with pytest.raises(Overloaded, match="too many clients"):
        await visit().ask(GetNames())
    first.connection.close("leaves")
    await until(lambda: server.peers._clients == 1)
    assert await visit().ask(GetNames()) == Names([])


async def test_calls_beyond_a_clients_bound_are_refused_before_any_effect(
    server: Server, visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "MAX_CLIENT_CALLS", 3)
    visitor, other = visit(TOKENS.issue(USER, "service")), visit()
    waiting = [asyncio.ensure_future(visitor.ask(GetMetrics())) for _ in range(3)]
    await until(lambda: server.taken == 3)
    with pytest.raises(Overloaded):
        await visitor.ask(GetMetrics())
    assert server.taken == 3
    assert await other.ask(GetNames()) == Names([])
    visitor.connection.close("leaves")
    for each in waiting:
        with pytest.raises(ProcessDown):
            await each


async def test_a_client_that_does_not_stop_asking_for_what_it_may_not_is_cut_off(
    server: Server, visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "MAX_REFUSALS", 3)
    visitor = visit()
    for _ in range(2):
        with pytest.raises(Forbidden):
            await visitor.ask(GetMetrics())
    with pytest.raises((Forbidden, ProcessDown)):
        await visitor.ask(Done())
    await until(lambda: visitor.connection.is_closed)
    assert server.taken == 0
