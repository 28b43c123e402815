"""Connections to clients: what aiohttp cannot parse is refused as any other request is, by problem+json.

aiohttp answers such a request before the edge sees it: with text, and a traceback in the log for every stranger who
sends garbage.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bitnexus.errors import BadRequest, BitNexusError
from bitnexus.http.correlation import RequestIds
from bitnexus.http.edge import STATIC_HEADERS, UNMATCHED
from bitnexus.http.problem import problem
from bitnexus.http.request_metrics import RequestMetrics

#: In the place of the method and the path, which nobody knows.
_UNKNOWN: Final = "unknown"

log = structlog.get_logger(__name__)


class Refusals:
    """Answers what could not be parsed."""

    def __init__(self, request_ids: RequestIds, metrics: RequestMetrics) -> None:
        self._request_ids = request_ids
        self._metrics = metrics

    def answer(self, request: web.BaseRequest, error: BitNexusError) -> web.Response:
        """The last answer of this connection: where the next request begins is not known."""
        request_id, _ = self._request_ids.of({})
        status, body, headers = problem(error, instance=_UNKNOWN, request_id=request_id)
        self._metrics.observe(_UNKNOWN, UNMATCHED, status, 0.0)
        log.debug("request_unreadable", request_id=request_id, peer=request.remote, status=status)
        headers |= {"X-Request-Id": request_id, **dict(STATIC_HEADERS)}
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        return response


class _Connection(web.RequestHandler):
    """aiohttp's, but for what it answers by itself."""

    __slots__ = ("_refusals",)

    def __init__(self, refusals: Refusals, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals = refusals

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = BitNexusError.status,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp calls it; what escapes the edge itself is a fault of ours, and logged by aiohttp."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        return self._refusals.answer(request, BadRequest("This is no HTTP request"))


class _Server(web.Server):
    """Makes such connections."""

    def __init__(self, refusals: Refusals, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals = refusals

    def __call__(self) -> web.RequestHandler:
        return _Connection(self._refusals, self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, with such a server."""

    def __init__(self, app: web.Application, refusals: Refusals, **options: Any) -> None:
        super().__init__(app, **options)
        self._refusals = refusals

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options = {"request_factory": made.request_factory, "loop": made._loop, **made._kwargs}  # noqa: SLF001
        return _Server(self._refusals, made.request_handler, **options)
