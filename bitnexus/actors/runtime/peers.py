"""The connections of one process: its listening socket, those who dial it, those whom it dials.

One connection leads to each peer that this process calls; what the peer calls by itself comes over the connection that
the peer dialled. Thespian's messages take whichever of the two was there first, and keep to it as long as it lasts (a
change of way would be a change of order): so an answer leaves together with the acknowledgement of what it answers.
Who has not shown the cookie yet is a stranger: strangers are few, and have a few seconds.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.access import ANONYMOUS
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.frames import DEFAULT_LIMIT
from bitnexus.actors.runtime.handshake import DIAL_TIMEOUT_S, INSTANCE_SIZE, Keys
from bitnexus.actors.runtime.tls import Contexts, Entrance
from bitnexus.errors import Forbidden, Overloaded
from bitnexus.principal import Principal
from bitnexus.revocations import Revoked

#: Connections that have not shown the cookie yet; one more is closed at once.
MAX_STRANGERS = 256
#: Clients of one process; one more is refused.
MAX_CLIENTS = 256
_BACKLOG = 256
#: How often `drain` looks.
_DRAIN_STEP_S = 0.002
_CLOSING_TURNS = 3

log = structlog.get_logger("bitnexus.runtime")


class Tokens(Protocol):
    """Access tokens, as `bitnexus.tokens.AccessTokens` verifies them, or raises Unauthorized."""

    def complete(self, unsigned: str) -> str:
        """The token with its signature."""

    def verify(self, token: str) -> Principal:
        """Whom it vouches for."""

    def revoke(self, revoked: Iterable[Revoked]) -> frozenset[str]:
        """Vouch for nobody by these any more; the ids of those that are new."""


class Peers:
    """What a `Connection` calls its endpoint.

    `on_envelope` takes one of Thespian's messages: False when it cannot. A process that listens takes clients once it
    has `tokens`; one that is a client itself may show a `token`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keys: Keys,
        on_envelope: Callable[[Connection, bytes], bool],
        tls: Contexts | None = None,
    ) -> None:
        self.loop = loop
        self.keys = keys
        self.token = ""
        self.tokens: Tokens | None = None
        self.instance = secrets.token_bytes(INSTANCE_SIZE)
        self.frame_limit = DEFAULT_LIMIT
        self.is_brief = False  # see connection.Endpoint
        self.on_items: Callable[[Connection, list[wire.Item]], None] | None = None
        self.on_closed: Callable[[Connection, str], None] | None = None
        self._on_envelope = on_envelope
        self._to: dict[str, Connection] = {}
        self._routes: dict[str, Connection] = {}  # of Thespian's messages
        self._all: set[Connection] = set()
        self._strangers = 0
        self._clients = 0
        self._tls = tls
        self._servers: list[asyncio.Server | Entrance] = []
        self.host, self.port, self.address = "", 0, ""

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Take connections at this address, too (port 0: a free one); the first is the address of this process."""
        listener = _listen((host, port))
        bound: tuple[str, int] = listener.getsockname()
        if self._tls is None:
            self._servers.append(await self.loop.create_server(self._accept, sock=listener, backlog=_BACKLOG))
        else:
            listener.listen(_BACKLOG)
            self._servers.append(Entrance(self.loop, listener, self._tls.listening, self._accept))
        if not self.address:
            self.host, self.port = bound
            self.address = f"{self.host}:{self.port}"
        return bound

    # -- connections -----------------------------------------------------------------------------------------

    def connection_to(self, address: str, instance: bytes = b"") -> Connection:
        """The connection to the process that listens at `address` ("host:port"), dialled when there is none.

        With `instance` only that very process is meant: should another one listen there now, the connection closes.
        """
        connection = self._to.get(address)
        if connection is not None and not connection.may_lead_to(instance):
            connection.close("a newer process listens there")
            connection = None
        if connection is None:
            connection = Connection(self, self.loop, dialled=True)
            connection.peer_address = address
            self._to[address] = connection
            self._all.add(connection)
            connection.dialling = self.loop.create_task(self._dial(connection), name=f"dial {address}")
        if instance:
            connection.expected_instance = instance
        return connection

    def route_to(self, address: str) -> Connection:
        """The connection that Thespian's messages to `address` take; whichever side dialled it."""
        route = self._routes.get(address)
        if route is None:
            route = self._routes[address] = self.connection_to(address)
        return route

    def known_connections_to(self, address: str) -> set[Connection]:
        """Those over which this process sends to `address`."""
        return {known for known in (self._to.get(address), self._routes.get(address)) if known is not None}

    def connections(self) -> list[Connection]:
        """All of them."""
        return list(self._all)

    def forget(self, address: str, reason: str) -> None:
        """Close the connection to `address`, if there is one: the next use dials anew."""
        connection = self._to.get(address)
        if connection is not None:
            connection.close(reason)

    async def _dial(self, connection: Connection) -> None:
        host, _, port = connection.peer_address.rpartition(":")
        context = None if self._tls is None else self._tls.dialling
        try:
            dialled = self.loop.create_connection(lambda: connection, host, int(port), ssl=context)
            await asyncio.wait_for(dialled, DIAL_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            connection.close(f"cannot connect: {error}")

    def _accept(self) -> Connection:
        connection = Connection(self, self.loop, dialled=False)
        if self._strangers >= MAX_STRANGERS:
            connection.is_closed = True  # aborted as soon as it is made
            log.warning("too_many_strangers", limit=MAX_STRANGERS)
            return connection
        self._strangers += 1
        self._all.add(connection)
        return connection

    # -- what connections report (connection.Endpoint) -------------------------------------------------------

    def established(self, connection: Connection) -> None:
        """The peer has proved who it is."""
        if not connection.dialled:
            self._strangers -= 1
        if connection.client is not None:
            self._clients += 1
        elif connection.peer_address:
            self._routes.setdefault(connection.peer_address, connection)

    def complete(self, token: str) -> str:
        """The signed form of what a client says its token is. Raises Forbidden or Unauthorized."""
        if self.tokens is None:
            raise Forbidden("This process takes no clients")
        return self.tokens.complete(token)

    def admit(self, token: str) -> Principal:
        """Whom a client with this token speaks for. Raises Forbidden, Unauthorized or Overloaded."""
        if self.tokens is None:
            raise Forbidden("This process takes no clients")
        if self._clients >= MAX_CLIENTS:
            raise Overloaded("This process has too many clients")
        return self.tokens.verify(token) if token else ANONYMOUS

    def refuse(self, revoked: Iterable[Revoked]) -> None:
        """Take no client with a token of these sessions and users any more, and cut off those that are there."""
        new = frozenset[str]() if self.tokens is None else self.tokens.revoke(revoked)
        for connection in self.connections() if new else ():
            client = connection.client
            if client is not None and (client.session_id in new or client.user_id in new):
                connection.close("the client's access token was revoked")

    def envelope_received(self, connection: Connection, body: bytes) -> bool:
        """Pass one of Thespian's messages on."""
        return self._on_envelope(connection, body)

    def items_received(self, connection: Connection, items: list[wire.Item]) -> None:
        """Pass application messages on; without a node (in Thespian's own processes) nobody takes them."""
        if self.on_items is not None:
            self.on_items(connection, items)
        else:
            connection.close("this process takes no application messages")

    def closed(self, connection: Connection, reason: str) -> None:
        """Forget the connection and tell whoever waits for it."""
        self._all.discard(connection)
        if not connection.dialled and not connection.is_established:
            self._strangers -= 1
            log.warning("connection_refused", peer=connection.remote, reason=reason)
        if connection.client is not None and connection.is_established:
            self._clients -= 1
        if self._to.get(connection.peer_address) is connection:
            del self._to[connection.peer_address]
        if self._routes.get(connection.peer_address) is connection:
            del self._routes[connection.peer_address]
        if self.on_closed is not None and (connection.dialled or connection.is_established):
            self.on_closed(connection, reason)

    # -- the end ---------------------------------------------------------------------------------------------

    async def drain(self, timeout_s: float) -> None:
        """Wait until the peers have taken everything that was sent to them, but not longer than `timeout_s`."""
        deadline = self.loop.time() + timeout_s
        # Looked at now and then: an event for each frame would cost the hot path.
        while any(connection.unsent for connection in self._all) and self.loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_STEP_S)

    def close(self) -> None:
        """Stop listening and close every connection. One that does not listen can be used again."""
        for server in self._servers:
            server.close()
        for connection in list(self._all):
            connection.close("this process ends")

    async def closed_all(self) -> None:
        """Give the loop the turns in which what was closed and cancelled ends."""
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)


def _listen(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener
