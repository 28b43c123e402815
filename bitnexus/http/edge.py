"""What surrounds every request, once: its id, its errors as problem+json, static headers, its count, its debug line.

One coroutine around the handler. The order: request id first, so that every log line and every actor message has it;
then the handler; whatever it raises becomes a problem; headers and metrics last.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bitnexus.config import correlation
from bitnexus.errors import (
    BadRequest,
    BitNexusError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
)
from bitnexus.http.correlation import RequestIds
from bitnexus.http.problem import problem
from bitnexus.http.request_metrics import RequestMetrics
from bitnexus.http.traffic import Traffic

UNMATCHED: Final = "unmatched"
SERVER: Final = "bitnexus"  # not which libraries of which versions
_MAX_INSTANCE_CHARS: Final = 256

log = structlog.get_logger(__name__)


def edge(request_ids: RequestIds, metrics: RequestMetrics, traffic: Traffic) -> Middleware:
    """The application's only middleware."""
    tells = logging.getLogger().isEnabledFor(logging.DEBUG)  # asked once: a line that is not written costs as well

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter()
        request_id = request_ids.of(request.headers)
        # aiohttp runs each request in a task of its own: this ends with it.
        correlation.request_id.set(request_id)
        traffic.enter()
        try:
            response = await handler(request)
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
            headers["X-Request-Id"] = request_id
            headers["Server"] = SERVER
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cache-Control"] = "no-store"
            resource = request.match_info.route.resource
            route = UNMATCHED if resource is None else resource.canonical
            seconds = perf_counter() - started
            metrics.observe(request.method, route, response.status, seconds)
            if tells:
                status = response.status
                log.debug("request_answered", method=request.method, route=route, status=status, seconds=seconds)
        return response

    return around


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
