"""The service itself: is it well, and in numbers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import orjson
from aiohttp import web

from bitnexus import __version__
from bitnexus.actors.runtime.message import GetMetrics, Metrics
from bitnexus.errors import BitNexusError, Overloaded
from bitnexus.http import exposition
from bitnexus.http.answers import expect
from bitnexus.http.api.resource import Resource
from bitnexus.http.described import Described, Media
from bitnexus.http.fast_path import Answer, Finish, Headers
from bitnexus.http.health import State
from bitnexus.http.routes import JSON_TYPE, Access, Call, Route, json_bytes
from bitnexus.http.shapes.system import Health as HealthShape
from bitnexus.http.shapes.system import Live, Ready
from bitnexus.principal import Principal

METRICS_TIMEOUT_S: Final = 1.0
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class System(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        routes = (
            ("/health", self.health, "The state of the service", {200: HealthShape, 503: HealthShape}),
            ("/health/live", self.live, "This front runs", {200: Live}),
            ("/health/ready", self.ready, "Transfers can be made", {200: Ready, 503: Ready}),
            ("/metrics", self.metrics, "Prometheus metrics of all processes", {200: Media(METRICS_TYPE)}),
        )
        public = Access.PUBLIC
        return [
            Route(
                "GET",
                path,
                handler,
                summary,
                public,
                unlimited=True,
                described=Described(answers),
                begin=self.begin_health if path == "/health" else None,
            )
            for path, handler, summary, answers in routes
        ]

    async def health(self, _: Call[None, None]) -> web.Response:
        """200 `healthy`, or 503 `unhealthy` when the database cannot be reached or there is no ledger."""
        status, body, _headers = _shown(await self._services.health.state())
        return json_bytes(body, status=status)

    def begin_health(self, _: Headers, __: Principal, ___: None, finish: Finish) -> None:
        """The same at once, while the state is known.

        Raises:
            Overloaded: it is not, and must be asked for.
        """
        state = self._services.health.known()
        if state is None:
            raise Overloaded
        finish(_shown(state))

    async def live(self, _: Call[None, None]) -> web.Response:
        """Always 200: a front that hangs does not answer."""
        return json_bytes(b'{"status":"live"}')

    async def ready(self, _: Call[None, None]) -> web.Response:
        """200 when transfers can be made, else 503."""
        state = await self._services.health.state()
        return json_bytes(
            b'{"status":"ready"}' if state.healthy else b'{"status":"not_ready"}', status=200 if state.healthy else 503
        )

    async def metrics(self, _: Call[None, None]) -> web.Response:
        """The metrics of every process that answers within a second, labelled with its name."""
        names = sorted(self._services.node.names())
        answers = await asyncio.gather(*(self._metrics_of(name) for name in names))
        texts = {}
        for name, answer in zip(names, answers, strict=True):
            up = f"# TYPE bitnexus_up gauge\nbitnexus_up {0 if answer is None else 1}\n"
            texts[name] = up + (answer or "")
        return web.Response(body=exposition.merge(texts).encode(), headers={"Content-Type": METRICS_TYPE})

    async def _metrics_of(self, name: str) -> str | None:
        try:
            answer = await self._services.node.call(name, GetMetrics(), timeout_s=METRICS_TIMEOUT_S)
        except BitNexusError:
            return None  # it says so itself: bitnexus_up 0
        return expect(Metrics, answer).text


def _shown(state: State) -> Answer:
    body = {
        "status": "healthy" if state.healthy else "unhealthy",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "database": "connected" if state.database else "disconnected",
        "ledger": "running" if state.ledger else "absent",
        "version": __version__,
    }
    return 200 if state.healthy else 503, orjson.dumps(body), {"Content-Type": JSON_TYPE}
