"""The way to the old service: one request on, its answer back, both as they come.

Nothing is kept and nothing repeated: an answer that did not come means that nobody knows what was done. Each request
has a connection of its own, so that none is written into one that the old service is about to close.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from bitnexus.errors import BitNexusError, LegacyTimedOut, LegacyUnavailable, Overloaded
from bitnexus.http.legacy.headers import back
from bitnexus.http.legacy.upload import Upload

CONNECT_S: Final = 5.0
#: From the first byte of a request to the last of its answer, however busily both are sent.
WHOLE_S: Final = 600.0
#: How long a client may take for what was sent to it.
STALL_S: Final = 30.0
#: Requests of one front that are at the old service at a time; more are refused before any effect.
MOST_AT_ONCE: Final = 256
_FINAL: Final = 200
_LINE_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)


class Gateway:
    """Requests to the service at `url`, which may be silent for `timeout_s`; close it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = URL(url)
        self._origin = str(self.url.origin())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_AT_ONCE, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=WHOLE_S, sock_connect=CONNECT_S, sock_read=timeout_s),
            auto_decompress=False,  # bodies are passed on as they are
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trust_env=False,  # a proxy of the environment's is not on this way
        )
        # Else aiohttp sends GET and DELETE again when the other side hangs up, and nobody knows how often it was done.
        self._session._retry_connection = False  # noqa: SLF001
        self.under_way = 0
        self._told_at = -_LINE_EVERY_S
        self._untold = 0

    async def close(self) -> None:
        """End what is under way."""
        await self._session.close()

    @asynccontextmanager
    async def answer(
        self, request: web.Request, path: str, headers: CIMultiDict[str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The old service's answer to the request, its head read; it ends with the block.

        Raises:
            LegacyUnavailable, LegacyTimedOut: there is none.
            Overloaded: too many are being asked for.
            PayloadTooLarge, RequestTimedOut, BadRequest: the request's body.
        """
        if self.under_way >= MOST_AT_ONCE:
            raise Overloaded("Too many requests are at the service behind this route")
        upload = Upload(request) if request.can_read_body else None
        self.under_way += 1
        try:
            got = await self._ask(request, path, headers, upload)
            try:
                yield got
            finally:
                got.close()
        finally:
            self.under_way -= 1

    async def _ask(
        self, request: web.Request, path: str, headers: CIMultiDict[str], upload: Upload | None
    ) -> aiohttp.ClientResponse:
        target = URL.build(
            scheme=self.url.scheme,
            authority=self.url.raw_authority,
            path=self.url.raw_path.rstrip("/") + path,
            query_string=request.rel_url.raw_query_string,
            encoded=True,
        )
        assert target.origin() == self.url.origin(), "a path never leads to another host"
        body = None if upload is None else upload.pieces()
        try:
            got = await self._session.request(request.method, target, headers=headers, data=body, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            if upload is not None and upload.failure is not None:
                raise upload.failure from error
            raise self._failure(error) from error
        if got.status < _FINAL:
            got.close()
            raise self._failure(aiohttp.ServerDisconnectedError())
        return got

    async def pass_back(
        self, request: web.Request, got: aiohttp.ClientResponse, request_id: str, *, last: bool
    ) -> web.StreamResponse:
        """The answer, sent on as it comes. One that breaks off is broken off, so that nobody takes it for the whole.

        `last`: the client is to turn to another connection after this.
        """
        headers = back(got.headers, self._origin, self.url.raw_path, request_id)
        response = web.StreamResponse(status=got.status, headers=headers)
        if last:
            response.force_close()
        try:
            await response.prepare(request)
            while piece := await got.content.readany():
                async with asyncio.timeout(STALL_S):
                    await response.write(piece)
            async with asyncio.timeout(STALL_S):
                await response.write_eof()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            log.debug("legacy_answer_cut", error=type(error).__name__)
            if request.transport is not None:
                request.transport.abort()
        return response

    def _failure(self, error: Exception) -> BitNexusError:
        """What the client is told; in the log at most one line a second: an outage must not flood it."""
        self._untold += 1
        now = monotonic()
        if now - self._told_at >= _LINE_EVERY_S:
            log.warning("legacy_unavailable", error=type(error).__name__, requests=self._untold)
            self._told_at, self._untold = now, 0
        return LegacyTimedOut() if isinstance(error, TimeoutError) else LegacyUnavailable()
