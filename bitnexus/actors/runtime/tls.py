"""Mutual TLS 1.3 under the connections of a process, on both ends, by the files that the settings name.

A listener takes only peers with a certificate of the node's CA, a dialler only listeners with one that stands for the
address it dialled. The handshake of handshake.py follows inside: a certificate alone opens nothing.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.handshake import HANDSHAKE_TIMEOUT_S
from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import InvalidSettings

_ACCEPT_PAUSE_S = 0.5

log = structlog.get_logger("bitnexus.runtime")


@dataclass(frozen=True, slots=True)
class Contexts:
    """One for each part that a process plays."""

    listening: ssl.SSLContext
    dialling: ssl.SSLContext


def contexts(files: TlsFiles | None) -> Contexts | None:
    """The contexts from these files, made once per process; None without TLS. Raises InvalidSettings."""
    if files is None:
        return None
    try:
        written = tuple(path.stat().st_mtime_ns for path in (files.cert, files.key, files.ca))
        return _contexts(files, os.getpid(), written)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidSettings(f"The files of BITNEXUS_NODE_TLS_… cannot be used: {error}") from error


# By pid: none that was inherited by fork. By times: a tree that is started anew takes renewed certificates.
@functools.lru_cache(maxsize=2)
def _contexts(files: TlsFiles, pid: int, written: tuple[int, ...]) -> Contexts:  # noqa: ARG001
    return Contexts(_context(files, ssl.PROTOCOL_TLS_SERVER), _context(files, ssl.PROTOCOL_TLS_CLIENT))


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


class Entrance:
    """A listening socket whose every connection passes the TLS handshake before it speaks.

    By hand, because a server of asyncio's keeps a failed handshake to itself: nobody could count it or log it. `accept`
    makes the connection for each socket; one that is closed already is turned away.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        context: ssl.SSLContext,
        accept: Callable[[], Connection],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._context = context
        self._accept = accept
        self._passing: set[asyncio.Task[None]] = set()
        listener.settimeout(0)
        loop.add_reader(listener, self._readable)

    def close(self) -> None:
        """Take no more connections; those that are in the handshake are cut."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for task in self._passing:
            task.cancel()

    def _readable(self) -> None:
        try:
            taken, peer = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors are left, say: others must get a turn to close theirs
            log.error("cannot_accept", error=str(error))  # noqa: TRY400  # where is clear
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_ACCEPT_PAUSE_S, self._resume)
            return
        connection = self._accept()
        if connection.is_closed:  # there are too many
            taken.close()
            return
        connection.remote = f"{peer[0]}:{peer[1]}"
        task = self._loop.create_task(self._pass(taken, connection), name=f"TLS with {connection.remote}")
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._readable)

    async def _pass(self, taken: socket.socket, connection: Connection) -> None:
        taken.settimeout(0)
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, taken, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except OSError as error:  # ssl.SSLError, ConnectionError and timeouts among them
            taken.close()
            connection.close(f"no TLS: {str(error) or type(error).__name__}")
        except asyncio.CancelledError:
            taken.close()
            connection.close("this process ends")
            raise
