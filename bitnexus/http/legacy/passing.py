"""Beside the service's own routes: which requests go to the old service, and what is counted of them.

Those that `LEGACY_ROUTES` lists, and those for which this service has no route. A path that this service has is its
own for all methods, however it is spelt: what has moved must not be reached at its old place by a slash at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiohttp import web

from bitnexus.config import correlation
from bitnexus.config.legacy_routes import METHODS, LegacyRoute, parse
from bitnexus.config.settings import Settings
from bitnexus.errors import BadRequest
from bitnexus.http.client_address import is_trusted, networks
from bitnexus.http.edge import Handler
from bitnexus.http.legacy.gateway import Gateway
from bitnexus.http.legacy.headers import Hop, onward
from bitnexus.http.legacy.metrics import LegacyMetrics
from bitnexus.http.legacy.target import check_query, segments_of, template_of
from bitnexus.http.limits import Limits
from bitnexus.http.traffic import Traffic

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Legacy:
    """The pass-through of one front; close it."""

    def __init__(self, url: str, routes: Sequence[LegacyRoute], settings: Settings, limits: Limits) -> None:
        self._gateway = Gateway(url, settings.legacy_timeout_s)
        self._routes = routes
        self._limits = limits
        self._trusted = networks(settings.trusted_proxies)
        self.metrics = LegacyMetrics((route.label for route in routes), lambda: self._gateway.under_way)

    @classmethod
    def of(cls, settings: Settings, limits: Limits) -> Legacy | None:
        """By the settings; None without an old service."""
        if settings.legacy_api_url is None:
            return None
        return cls(settings.legacy_api_url, parse(settings.legacy_routes), settings, limits)

    async def close(self) -> None:
        """End what is under way."""
        await self._gateway.close()

    def takes(self, method: str, path: str) -> bool:
        """Whether a path of this service is listed: it must not be answered before the router is asked.

        False for the template of a path: only the router, and so :meth:`beside`, knows what is one of its paths.
        """
        segments = segments_of(path)
        return segments is not None and self._listed(method, segments) is not None

    def beside(self, by_router: Handler, router: web.UrlDispatcher, traffic: Traffic) -> Handler:
        """The application's handler, but for what goes to the old service.

        Paths that are not listed and are answered without the router pay nothing for it.
        """
        own = _own_paths(router.resources())

        async def handle(request: web.Request) -> web.StreamResponse:
            segments = segments_of(request.rel_url.raw_path)
            route = None if segments is None else self._listed(_method(request), segments)
            if route is not None:
                if request.headers.get("Expect", "").lower() == "100-continue":
                    await request.writer.write(_CONTINUE)
                    request.writer.output_size = 0  # as aiohttp does: that was not the answer
                return await self._pass(request, route.label, traffic)
            try:
                return await by_router(request)
            except web.HTTPNotFound:
                if request.method not in METHODS:
                    raise
                if segments is None:
                    raise BadRequest("The path is ambiguous") from None
                if own("/" + "/".join(segments)):
                    raise
            # Outside of the handler: what fails from here on is no consequence of the missing route.
            return await self._pass(request, template_of(segments), traffic)

        return handle

    def _listed(self, method: str, segments: Sequence[str]) -> LegacyRoute | None:
        return next((route for route in self._routes if route.matches(method, segments)), None)

    async def _pass(self, request: web.Request, route: str, traffic: Traffic) -> web.StreamResponse:
        """Pass the request on, and its answer back; counts against the client's address, as strangers' requests do."""
        self._limits.stranger(request)
        check_query(request.rel_url.raw_query_string)
        peer = request.remote or ""
        # Behind a slash stands the trace, which travels in its own header.
        request_id = correlation.request_id.get().partition("/")[0]
        hop = Hop(peer, is_trusted(peer, self._trusted), request.scheme, request_id)
        headers = onward(request.headers, hop)
        status = None
        try:
            async with self._gateway.answer(request, request.rel_url.raw_path, headers) as got:
                status = got.status
                return await self._gateway.pass_back(request, got, request_id, last=traffic.draining)
        finally:
            self.metrics.observe(request.method, route, status)


def _method(request: web.Request) -> str:
    """The method that is asked for, also by a browser that asks whether it may."""
    if request.method == "OPTIONS":
        return request.headers.get("Access-Control-Request-Method", request.method)
    return request.method


def _own_paths(resources: Iterable[web.AbstractResource]) -> Callable[[str], bool]:
    """Tells whether this service has a path; in upper or lower case, for some services make no difference."""
    patterns = []
    for resource in resources:
        info = resource.get_info()
        pattern = info.get("pattern")
        text = re.escape(info["path"]) if pattern is None else pattern.pattern
        patterns.append(re.compile(text, re.IGNORECASE))
    return lambda path: any(pattern.fullmatch(path) for pattern in patterns)
