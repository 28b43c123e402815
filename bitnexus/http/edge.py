"""What surrounds every request, once: its id, its errors as problem+json, static headers, its count, its debug line.

One coroutine around what answers, below aiohttp's application: its middlewares would cost more. The order: request id
first, so that every log line and every actor message has it; then the handler, an exact path's at once, else the one
that the application's router finds; whatever it raises becomes a problem; headers and metrics last.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final, TypeAlias

import structlog
from aiohttp import web

from bitnexus.config import correlation
from bitnexus.errors import (
    BadRequest,
    BitNexusError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
)
from bitnexus.http.correlation import RequestIds
from bitnexus.http.cors import Cors
from bitnexus.http.fields import CONTENT_TYPE, EXPECT, ORIGIN, X_REQUEST_ID
from bitnexus.http.presentation import COMPRESSED_FROM_BYTES, STATIC_HEADERS, compress, protect_page
from bitnexus.http.problem import problem
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.routes import JSON_TYPE
from bitnexus.http.traffic import Traffic

UNMATCHED: Final = "unmatched"
_MAX_INSTANCE_CHARS: Final = 256

log = structlog.get_logger(__name__)


#: Takes aiohttp's request and answers it.
Handler: TypeAlias = Callable[[Any], Awaitable[web.StreamResponse]]


def edge(
    by_router: Handler,
    exact: Mapping[tuple[str, str], Handler],
    request_ids: RequestIds,
    metrics: RequestMetrics,
    traffic: Traffic,
    *,
    cors: Cors | None = None,
) -> Handler:
    """The server's handler: `exact` ones by (method, path), `by_router` (the application's) for everything else.

    `cors` None: no page of another site may use the API.
    """
    tells = logging.getLogger().isEnabledFor(logging.DEBUG)  # asked once: a line that is not written costs as well

    async def around(request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        path = request.rel_url.raw_path
        handler = exact.get((request.method, path))
        if handler is not None and EXPECT in request.headers:
            handler = None  # the application knows how to answer that
        request_id, correlated = request_ids.of(request.headers)
        # aiohttp runs each request in a task of its own: this ends with it.
        correlation.request_id.set(correlated)
        traffic.enter()
        try:
            response = await (by_router if handler is None else handler)(request)
        except BitNexusError as error:
            response = _answer(error, request, request_id)
        except web.HTTPException as error:
            response = _answer(translated(error), request, request_id)
        except Exception:
            log.exception("request_failed", method=request.method, path=_instance(request))
            response = _answer(BitNexusError(), request, request_id)
        finally:
            traffic.leave()
        if traffic.draining:
            response.force_close()
        if not response.prepared:
            headers = response.headers
            _present(request, response, cors)
            headers[X_REQUEST_ID] = request_id
            for name, value in STATIC_HEADERS:
                headers.setdefault(name, value)  # unless the answer may be kept
            route = path if handler is not None else _template(request)
            seconds = perf_counter() - started
            metrics.observe(request.method, route, response.status, seconds)
            if tells:
                status = response.status
                log.debug("request_answered", method=request.method, route=route, status=status, seconds=seconds)
        return response

    return around


def _present(request: web.Request, response: web.StreamResponse, cors: Cors | None) -> None:
    headers = response.headers
    if headers.get(CONTENT_TYPE) != JSON_TYPE:
        protect_page(headers)
    if type(response) is web.Response:
        body = response.body
        if type(body) is bytes and len(body) >= COMPRESSED_FROM_BYTES:
            compress(request, response)
    if cors is not None:
        cors.dress(request.headers.get(ORIGIN), headers)


def with_preflights(by_router: Handler, cors: Cors) -> Handler:
    """The application's handler, but for what browsers ask before a page of another site may send a request."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = cors.preflight(request.headers) if request.method == "OPTIONS" else None
        return await by_router(request) if answer is None else web.Response(status=204, headers=answer)

    return handle


def _template(request: web.Request) -> str:
    matched = request._match_info  # noqa: SLF001 - None for what is answered before it is routed: a preflight
    resource = None if matched is None else matched.route.resource
    return UNMATCHED if resource is None else resource.canonical


def translated(error: web.HTTPException) -> BitNexusError:
    """The error of this service for one that aiohttp raises."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return MethodNotAllowed(f"{error.method} is not allowed here", allow=tuple(error.allowed_methods))
    if error.status == NotFound.status:
        return NotFound("No such route")
    if error.status == PayloadTooLarge.status:
        return PayloadTooLarge()
    if BadRequest.status <= error.status < BitNexusError.status:
        return BadRequest()
    return BitNexusError()


def _answer(error: BitNexusError, request: web.Request, request_id: str) -> web.Response:
    if error.status == BitNexusError.status:
        log.error("request_failed", code=error.code, method=request.method, path=_instance(request))
    status, body, headers = problem(error, instance=_instance(request), request_id=request_id)
    return web.Response(status=status, body=body, headers=headers)


def _instance(request: web.Request) -> str:
    return request.rel_url.raw_path[:_MAX_INSTANCE_CHARS]
