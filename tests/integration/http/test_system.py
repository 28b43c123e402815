from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

import bitnexus

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_running_service_is_healthy(service):
    status, answer, _ = await service.call("GET", "/health")
    assert status == 200
    assert (answer["status"], answer["database"], answer["version"]) == ("healthy", "connected", bitnexus.__version__)
    assert answer["timestamp"]
    assert (await service.call("GET", "/health/live"))[0] == 200
    assert (await service.call("GET", "/health/ready"))[0] == 200


async def test_head_is_answered_like_get_without_the_body(service):
    async with service.session.head("/health") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_metrics_are_those_of_all_processes(service):
    for _ in range(4):
        await service.call("GET", "/health/live")
    async with service.session.get("/metrics") as response:
        assert response.content_type == "text/plain"
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    up = {sample.labels["process"]: sample.value for sample in families["bitnexus_up"].samples}
    assert {"ledger", "transactions-0", "transactions-1", "notifier", "http-0", "http-1"} <= up.keys()
    assert set(up.values()) == {1.0}
    for family, kinds in (("bitnexus_users_active", {"transactions"}), ("bitnexus_ledger_blocks", {"ledger"})):
        processes = {sample.labels["process"].partition("-")[0] for sample in families[family].samples}
        assert processes == kinds
    of_all = {sample.labels["process"] for sample in families["bitnexus_mailbox_messages"].samples}
    assert of_all == up.keys()
    routes = {
        s.labels["route"] for s in families["bitnexus_http_requests"].samples if s.labels["process"][:4] == "http"
    }
    assert "/health/live" in routes


async def test_health_is_told_alike_on_both_ways(service):
    told = []
    for headers in ({}, {"Origin": "https://elsewhere.example"}):  # such a request takes the usual way
        status, answer, got = await service.call("GET", "/health", headers=headers)
        assert status == 200
        answer.pop("timestamp")
        told.append((answer, {name for name in got if name not in {"Date", "Content-Length"}}, got["Content-Type"]))
    assert told[0] == told[1]
    async with service.session.head("/health") as response:
        assert (response.status, await response.read()) == (200, b"")
    async with service.session.get("/health", data=b"x") as response:
        assert response.status == 200
