from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bitnexus.http.request_metrics import RequestMetrics


def test_requests_are_counted_by_route_and_status_and_timed_by_route():
    metrics = RequestMetrics()
    metrics.observe("GET", "/a", 200, 0.002)
    metrics.observe("GET", "/a", 200, 0.3)
    metrics.observe("GET", "/a", 404, 100.0)
    registry = CollectorRegistry()
    registry.register(metrics)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    assert samples["bitnexus_http_requests_total", ("method", "GET"), ("route", "/a"), ("status", "200")] == 2
    assert samples["bitnexus_http_requests_total", ("method", "GET"), ("route", "/a"), ("status", "404")] == 1
    assert samples["bitnexus_http_request_seconds_bucket", ("le", "0.0025"), ("route", "/a")] == 1
    assert samples["bitnexus_http_request_seconds_bucket", ("le", "10.0"), ("route", "/a")] == 2
    assert samples["bitnexus_http_request_seconds_bucket", ("le", "+Inf"), ("route", "/a")] == 3
    assert samples["bitnexus_http_request_seconds_count", ("route", "/a")] == 3
