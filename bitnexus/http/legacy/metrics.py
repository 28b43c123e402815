"""How often each route of the old service is still used, and when it was last: what shows that it can be retired."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Routes that are counted by name besides the listed ones.
MOST_NAMED: Final = 200
#: What the old service does not have either, and what came when there were enough names.
UNMATCHED: Final = "unmatched"
OTHER: Final = "other"
_NOT_FOUND: Final = 404
#: In the place of a status: no answer.
FAILED: Final = "failed"


class LegacyMetrics(Collector):
    """Counts by method, route and class of status. Routes are those listed, and templates of paths, a bounded number.

    Only what the old service answers with something else than 404 gets a name of its own, so that strangers who try out
    paths do not use the names up.
    """

    def __init__(
        self, listed: Iterable[str], under_way: Callable[[], int], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._under_way = under_way
        self._clock = clock
        # Those that are listed show from the start that nobody uses them.
        self._last_used_at: dict[str, float] = dict.fromkeys(listed, 0.0)
        self._most = len(self._last_used_at) + MOST_NAMED
        self._counts: dict[tuple[str, str, str], int] = {}

    def observe(self, method: str, route: str, status: int | None) -> str:
        """Count one request, answered with `status` or not at all; the name under which it was counted."""
        if route not in self._last_used_at:
            if status is None or status == _NOT_FOUND:
                route = UNMATCHED
            elif len(self._last_used_at) >= self._most:
                route = OTHER
        if route not in {UNMATCHED, OTHER}:
            self._last_used_at[route] = self._clock()
        key = (method, route, FAILED if status is None else f"{status // 100}xx")
        self._counts[key] = self._counts.get(key, 0) + 1
        return route

    def collect(self) -> Iterator[Metric]:
        """The families, for a Prometheus registry."""
        requests = CounterMetricFamily(
            "bitnexus_legacy_requests", "Requests passed on to the old service.", labels=["method", "route", "status"]
        )
        for (method, route, status), count in self._counts.items():
            requests.add_metric([method, route, status], count)
        yield requests
        last_used = GaugeMetricFamily(
            "bitnexus_legacy_last_request_timestamp_seconds",
            "When this route of the old service was last asked for, since this front began; 0: never.",
            labels=["route"],
        )
        for route, used_at in self._last_used_at.items():
            last_used.add_metric([route], used_at)
        yield last_used
        yield GaugeMetricFamily(
            "bitnexus_legacy_requests_under_way", "Requests at the old service now.", value=self._under_way()
        )
