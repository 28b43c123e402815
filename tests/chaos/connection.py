"""One keep-alive connection of a client's, as bare as it can be: nothing is repeated, nothing hidden."""

from __future__ import annotations

import asyncio
import time
from typing import Final

#: A connection is closed after so many requests and another one opened: the fronts share the clients evenly again.
REQUESTS_PER_CONNECTION: Final = 50


class Connection:
    """One keep-alive connection, one request at a time. ConnectionError or EOFError when it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.local_port: int = writer.get_extra_info("sockname")[1]
        self.opened_at = time.monotonic()
        self.requests = 0
        self.is_over = False  # the server has said that it closes it
        self.head = b""  # of the last answer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to 127.0.0.1:port."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed it, as far as the loop has heard by now."""
        return self._reader.at_eof() or self._reader.exception() is not None

    async def request(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self.requests += 1
        self._writer.write(request)
        await self._writer.drain()
        self.head = head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line[:15].lower() == b"content-length:")
        self.is_over = any(line.lower() == b"connection: close" for line in lines)
        return int(lines[0].split(b" ", 2)[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()
