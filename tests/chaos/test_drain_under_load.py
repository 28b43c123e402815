"""Who leaves in order fails nobody: a front that is drained, and the whole node at SIGTERM."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.asking import Tally
from tests.chaos.excuses import Kind
from tests.chaos.history import History
from tests.chaos.under_load import KINDS, at_work, clients_of, judge, operate, troubles
from tests.running import STOP_PROMISED_S, RunningService, accepts_connections

LOAD_S = 1.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    with RunningService(tmp_path, {"BITNEXUS_PROFILE": "test"}) as service:
        service.start()
        yield service


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_fronts_that_are_drained_and_then_the_node_that_is_terminated_fail_nobody_whom_they_have_heard(
    service: RunningService,
) -> None:
    tally, history = Tally(), History()
    clients = await clients_of(service, tally, history)
    async with at_work(clients) as tasks:
        for front in ("http-0", "http-1"):
            await asyncio.sleep(LOAD_S)
            assert (await operate(service, "drain", f"bitnexus/http/{front}", "--yes"))["outcome"] == "done"
            answered = tally.answered
            await asyncio.sleep(LOAD_S)
            assert tally.answered > answered  # by the other one
            assert (await operate(service, "resume", f"bitnexus/http/{front}"))["outcome"] == "done"
        await asyncio.sleep(LOAD_S)
        assert troubles(tally) == []

        stopped_at = time.monotonic()
        service.process.terminate()
        assert await asyncio.to_thread(service.wait) == 0
        assert time.monotonic() - stopped_at < STOP_PROMISED_S
        for task in tasks:
            task.cancel()
    assert {trouble.kind for trouble in tally.troubles} == {Kind.DEAF}, troubles(tally)
    assert service.processes() == []
    assert not accepts_connections(service.port)
    assert not (service.data_dir / "postgresql.lock").exists()
    wrong, books = await judge(service, history)
    assert wrong == []
    # Nobody was left without an answer to what was done.
    told = {each.transfer_id for each in history.told}
    unknown = [row for row in books.rows if row.transfer_id not in told and row.kind != "expire_pending"]
    assert len(unknown) == len(KINDS) + 1  # the funds, and the stock
