"""How many requests, how they ended, how long they took: plain numbers, made into Prometheus families when asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Latency:
    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0


class RequestMetrics(Collector):
    """Counts by route and status, latencies by route. Routes are templates: the number of series is bounded."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._latencies: dict[str, _Latency] = {}
        self.fast = 0  # requests that took the fast path
        self.sockets = 0  # open WebSockets now
        self.poll_sessions = 0  # clients that poll now

    def observe(self, method: str, route: str, status: int, elapsed_s: float) -> None:
        """Count one answered request."""
        key = (method, route, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        latency = self._latencies.get(route)
        if latency is None:
            latency = self._latencies[route] = _Latency()
        latency.buckets[bisect_left(BUCKETS_S, elapsed_s)] += 1
        latency.total_s += elapsed_s

    def collect(self) -> Iterator[Metric]:
        """The families, for a Prometheus registry."""
        requests = CounterMetricFamily(
            "bitnexus_http_requests", "Answered HTTP requests.", labels=["method", "route", "status"]
        )
        for (method, route, status), count in self._counts.items():
            requests.add_metric([method, route, str(status)], count)
        yield requests
        latencies = HistogramMetricFamily(
            "bitnexus_http_request_seconds", "Time from a request's head to its answer.", labels=["route"]
        )
        bounds = [str(bound) for bound in BUCKETS_S] + ["+Inf"]
        for route, latency in self._latencies.items():
            cumulated = list(zip(bounds, accumulate(latency.buckets), strict=True))
            latencies.add_metric([route], cumulated, latency.total_s)
        yield latencies
        yield CounterMetricFamily("bitnexus_http_fast_path", "Requests that took the fast path.", value=self.fast)
        yield GaugeMetricFamily("bitnexus_http_sockets", "Open WebSockets.", value=self.sockets)
        yield GaugeMetricFamily("bitnexus_http_poll_sessions", "Channel clients that poll.", value=self.poll_sessions)
