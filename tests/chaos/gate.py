"""A gate in front of PostgreSQL's socket: what the ledger sends, or what it is answered, can be held back.

So a ledger can be killed when its block has surely been committed and it surely does not know, or when the server has
got half of a block, without a line for it in the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from pathlib import Path
from typing import Final

_PIECE_BYTES: Final = 2**16
#: A startup packet names the session so.
_LEDGER: Final = b"\x00bitnexus/ledger\x00"


class Hold(enum.Enum):
    """What is held back of the ledger's sessions."""

    NOTHING = enum.auto()
    QUESTIONS = enum.auto()  # what the ledger sends; of the first piece half goes through
    ANSWERS = enum.auto()  # what the server sends


class Gate:
    """Listens at `socket` and passes everything on to `server`, another socket; `hold` says what waits instead."""

    def __init__(self, socket: Path, server: Path) -> None:
        self._socket, self._target = socket, server
        self._hold = Hold.NOTHING
        self._opened = asyncio.Event()
        self._opened.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server
        #: How many pieces have been held back since `hold` was called last.
        self.held = 0

    async def open(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_unix_server(self._connected, self._socket)

    async def close(self) -> None:
        """Listen no more, and cut all connections."""
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self, what: Hold) -> None:
        """Hold back, from now on, what the sessions of a ledger send or are sent; NOTHING lets all of it go."""
        self._hold, self.held = what, 0
        if what is Hold.NOTHING:
            self._opened.set()
        else:
            self._opened.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # With the server away this is a connection that breaks: the client cannot tell the difference. Cancelled
            # by `close`, asyncio's streams want the task to end as others do.
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = await reader.readexactly(4)
        startup = length + await reader.readexactly(int.from_bytes(length, "big") - 4)
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        is_ledger = _LEDGER in startup
        try:
            server_writer.write(startup)
            directions = [
                asyncio.ensure_future(self._pass(reader, server_writer, Hold.QUESTIONS if is_ledger else None)),
                asyncio.ensure_future(self._pass(server_reader, writer, Hold.ANSWERS if is_ledger else None)),
            ]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        finally:
            server_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Hold | None) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            if kind is not None and self._hold is kind:
                self.held += 1
                if kind is Hold.QUESTIONS:
                    half = len(piece) // 2
                    writer.write(piece[:half])
                    piece = piece[half:]
                await self._opened.wait()
            writer.write(piece)
            await writer.drain()
