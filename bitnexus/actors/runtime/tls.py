"""Mutual TLS 1.3 under the connections of a process, on both ends, by the files that the settings name.

A listener takes only peers with a certificate of the node's CA, a dialler only listeners with one that stands for the
address it dialled. The handshake of handshake.py follows inside: a certificate alone opens nothing.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from dataclasses import dataclass
from typing import cast

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.handshake import HANDSHAKE_TIMEOUT_S
from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import InvalidSettings


@dataclass(frozen=True, slots=True)
class Contexts:
    """One for each part that a process plays."""

    listening: ssl.SSLContext
    dialling: ssl.SSLContext


def contexts(files: TlsFiles | None) -> Contexts | None:
    """The contexts from these files, made once per process; None without TLS. Raises InvalidSettings."""
    return None if files is None else _contexts(files, os.getpid())


@functools.lru_cache(maxsize=4)
def _contexts(files: TlsFiles, pid: int) -> Contexts:  # noqa: ARG001  # not one inherited by fork
    try:
        return Contexts(_context(files, ssl.PROTOCOL_TLS_SERVER), _context(files, ssl.PROTOCOL_TLS_CLIENT))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidSettings(f"The files of BITNEXUS_NODE_TLS_… cannot be used: {error}") from error


def _context(files: TlsFiles, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.ca)
    # Without a password: an encrypted key fails here instead of asking at the terminal.
    context.load_cert_chain(files.cert, files.key, password=_no_password)
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


class Entrance(asyncio.Protocol):
    """Leads an accepted socket through the TLS handshake, then hands it to its connection.

    By hand, because a server with a context of its own keeps a failed handshake to itself: nobody could count it or
    log it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext, connection: Connection) -> None:
        self._loop = loop
        self._context = context
        self._connection = connection
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        plain = cast("asyncio.Transport", transport)
        peer = plain.get_extra_info("peername")
        self._connection.remote = f"{peer[0]}:{peer[1]}" if peer else ""
        if self._connection.is_closed:  # there were too many
            plain.abort()
            return
        plain.pause_reading()  # what has come already is for the TLS layer
        self._task = self._loop.create_task(self._pass(plain), name=f"TLS with {self._connection.remote}")

    async def _pass(self, plain: asyncio.Transport) -> None:
        connection = self._connection
        try:
            secure = await self._loop.start_tls(
                plain, connection, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except asyncio.CancelledError:
            plain.abort()
            raise
        except OSError as error:  # ssl.SSLError, ConnectionError and timeouts among them
            plain.abort()
            connection.close(f"no TLS: {str(error) or type(error).__name__}")
            return
        if secure is None:  # the peer left in the moment of the handshake's end
            connection.close("no TLS: closed by the peer")
            return
        connection.connection_made(secure)
