"""The handshake of one connection, until each end knows who the other is; what is said is in handshake.py."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Protocol

from bitnexus.actors.runtime.frames import FrameError, Kind, encode
from bitnexus.actors.runtime.handshake import (
    DIAL_TIMEOUT_S,
    HANDSHAKE_TIMEOUT_S,
    NONCE_SIZE,
    Dialler,
    Keys,
    Listener,
    Role,
)
from bitnexus.errors import BitNexusError, Unauthorized, by_code
from bitnexus.principal import Principal

#: After its time is over a handshake gets this long for what had arrived while this process was busy.
_GRACE_S = 0.05


class Host(Protocol):
    """Whom an end of a connection belongs to, as far as the handshake is concerned."""

    keys: Keys
    instance: bytes
    address: str
    token: str  # the access token that this end shows as a client, or ""

    def complete(self, token: str) -> str:
        """The signed form of a client's token without signature. Raises BitNexusError: no clients, or no such token."""

    def admit(self, token: str) -> Principal:
        """Who a client is that has proved this token ("": none). Raises BitNexusError: it may not come in."""


class Introduced(Protocol):
    """What the handshake needs of its connection, and sets in it."""

    dialled: bool
    remote: str
    peer_address: str
    peer_instance: bytes
    expected_instance: bytes
    client: Principal | None
    refusal: BitNexusError | None

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""

    def establish(self) -> None:
        """Both have proved who they are."""

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; with `flush` what was written leaves."""


class Introduction:
    """Of either end."""

    def __init__(self, connection: Introduced, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._host = host
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._listener: Listener | None = None
        self._dialler: Dialler | None = None

    def begin(self, own_name: str) -> None:
        """The socket is open; this end of it is `own_name`."""
        host, connection = self._host, self._connection
        self._timer = self._loop.call_later(
            DIAL_TIMEOUT_S if connection.dialled else HANDSHAKE_TIMEOUT_S, self._overdue
        )
        nonce = secrets.token_bytes(NONCE_SIZE)
        if connection.dialled:
            self._dialler = Dialler(host.keys, nonce, host.address, connection.remote, token=host.token)
        else:
            self._listener = Listener(host.keys, nonce, host.instance, own_name)
            connection.write(encode(Kind.CHALLENGE, self._listener.challenge()))

    def _overdue(self) -> None:
        # Timers fire before sockets are read: a process that was busy would turn away whoever has long answered.
        self._timer = self._loop.call_later(_GRACE_S, self._connection.close, "no handshake in time")

    def done(self) -> None:
        """It has come to its good end: a client stays as long as its token is valid."""
        self.end()
        client = self._connection.client
        if client is not None and client.expires_at != float("inf"):
            left_s = client.expires_at - time.time()
            self._timer = self._loop.call_later(left_s, self._connection.close, "the client's access token has expired")

    def end(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def frame_received(self, kind: Kind, body: bytes) -> None:
        """A frame that is none of an established connection's. Raises FrameError."""
        connection = self._connection
        match kind:
            case Kind.CHALLENGE if self._dialler is not None:
                connection.write(encode(Kind.HELLO, self._dialler.receive_challenge(body)))
            case Kind.HELLO if self._listener is not None:
                self._hello_received(self._listener, body)
            case Kind.WELCOME if self._dialler is not None:
                connection.peer_instance = self._dialler.receive_welcome(body)
                if connection.expected_instance not in (b"", connection.peer_instance):
                    raise FrameError("another process listens there now")
                connection.establish()
            case Kind.REFUSED if self._dialler is not None:
                code, _, detail = body.decode(errors="replace").partition("\n")
                connection.refusal = by_code(code, detail)
                connection.close(f"refused: {detail}")
            case _:
                raise FrameError(f"frame kind {kind.name} is not allowed here")

    def _hello_received(self, listener: Listener, body: bytes) -> None:
        connection = self._connection
        hello = listener.receive_hello(body)
        connection.peer_address = hello.address
        if hello.role is Role.CLIENT:
            try:
                connection.client = self._admit(listener, hello.token)
            except BitNexusError as error:
                connection.write(encode(Kind.REFUSED, f"{error.code}\n{error.detail}".encode()))
                connection.close(f"client refused: {error.detail}", flush=True)
                return
        connection.write(encode(Kind.WELCOME, listener.welcome()))
        connection.establish()

    def _admit(self, listener: Listener, said: str) -> Principal:
        token = self._host.complete(said) if said else ""
        if token:
            try:
                listener.check_token(token)
            except FrameError as error:
                raise Unauthorized("The access token is not valid") from error
        return self._host.admit(token)
