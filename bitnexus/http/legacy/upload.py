"""The body of a request on its way to the old service: in pieces, bounded in size, and in how long each may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from bitnexus.errors import BadRequest, BitNexusError, PayloadTooLarge, RequestTimedOut

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
PIECE_TIMEOUT_S: Final = 10.0


class Upload:
    """One body. It can be read once: an attempt to send it again fails, instead of sending the rest as the whole."""

    def __init__(self, request: web.Request, *, most_bytes: int = MAX_BODY_BYTES) -> None:
        self._request = request
        self._left = most_bytes
        self._is_begun = False
        #: What went wrong on the client's side, if something did.
        self.failure: BitNexusError | None = None
        declared = request.content_length
        if declared is not None and declared > most_bytes:
            raise PayloadTooLarge(f"A body may have {most_bytes} bytes")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it arrives; raises, and keeps as `failure`, what the client is to be told."""
        if self._is_begun:
            raise self._failed(BadRequest("The body was sent, and nobody has taken it"))
        self._is_begun = True
        while piece := await self._next():
            self._left -= len(piece)
            if self._left < 0:
                raise self._failed(PayloadTooLarge())
            yield piece

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(PIECE_TIMEOUT_S):
                return await self._request.content.readany()
        except TimeoutError as error:
            raise self._failed(RequestTimedOut()) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise self._failed(BadRequest("The body is not complete")) from error

    def _failed(self, error: BitNexusError) -> BitNexusError:
        self.failure = error
        return error
