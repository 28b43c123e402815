"""An operator restarts subtrees while clients pay each other: nobody notices, and the steps are those foretold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.asking import Tally
from tests.chaos.connection import Connection
from tests.chaos.history import History
from tests.chaos.under_load import at_work, clients_of, judge, operate, troubles
from tests.running import RunningService

VISITORS = 4
ANSWER_WITHIN_S = 15.0
VISIT_EVERY_S = 0.002
ROUNDS = 2
#: Load before the first, between two, and after the last restart.
PAUSE_S = 0.5
STOPS_AND_STARTS = {
    "bitnexus/transactions": [
        ("stop", "bitnexus/transactions/transactions-1"),
        ("stop", "bitnexus/transactions/transactions-0"),
        ("stop", "bitnexus/transactions"),
        ("start", "bitnexus/transactions"),
        ("start", "bitnexus/transactions/transactions-0"),
        ("start", "bitnexus/transactions/transactions-1"),
    ],
    "bitnexus/ledger": [("stop", "bitnexus/ledger"), ("start", "bitnexus/ledger")],
    "bitnexus/http": [
        ("stop", "bitnexus/http/http-0"),
        ("start", "bitnexus/http/http-0"),
        ("stop", "bitnexus/http/http-1"),
        ("start", "bitnexus/http/http-1"),
    ],
}


class Visitor:
    """Somebody who comes by a connection of his own for each question; nobody may be refused or cut off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.visits = 0
        self.failures: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    connection = await Connection.open(self._port)
                    try:
                        status, _ = await connection.request(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    finally:
                        connection.close()
            except (OSError, EOFError) as error:  # a TimeoutError is an OSError
                self.failures.append(repr(error))
                return
            self.visits += 1
            if status != 200:
                self.failures.append(f"status {status}")
            await asyncio.sleep(VISIT_EVERY_S)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    with RunningService(tmp_path, {"BITNEXUS_PROFILE": "test"}) as service:
        service.start()
        yield service


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_a_restart_under_load_goes_in_order_and_fails_no_request(service: RunningService) -> None:
    tally, history, stop = Tally(), History(), asyncio.Event()
    clients = await clients_of(service, tally, history)
    visitors = [Visitor(service.port) for _ in range(VISITORS)]
    answered: list[int] = []
    async with at_work(clients), asyncio.TaskGroup() as group:
        for visitor in visitors:
            group.create_task(visitor.run(stop))
        try:
            for path in [*STOPS_AND_STARTS] * ROUNDS:
                await asyncio.sleep(PAUSE_S)
                would = await operate(service, "restart", path, "--dry-run")
                done = await operate(service, "restart", path, "--yes")
                assert (would["outcome"], done["outcome"]) == ("would", "done")
                assert done["steps"] == would["steps"]
                assert [(step["action"], step["path"]) for step in done["steps"]] == STOPS_AND_STARTS[path]
                await _until_started(service, done["steps"])
                answered.append(tally.answered)
            await asyncio.sleep(PAUSE_S)
        finally:
            stop.set()
    assert troubles(tally) == []
    assert [failure for visitor in visitors for failure in visitor.failures] == []
    assert sorted(set(answered)) == answered, "there was no load between two restarts"

    service.process.terminate()
    assert await asyncio.to_thread(service.wait) == 0
    wrong, _ = await judge(service, history)
    assert wrong == []


async def _until_started(service: RunningService, steps: list[dict[str, Any]]) -> None:
    """The log has told of the starts, in this order, of other processes than were stopped."""
    names = [step["path"].rpartition("/")[2] for step in steps if step["action"] == "start"]
    before = {step["path"].rpartition("/")[2]: step["pid"] for step in steps if step["action"] == "stop"}
    deadline = time.monotonic() + 10
    while not all(service.has_pid(name, other_than=before[name]) for name in names):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    started_at: dict[str, str] = {}
    for line in service.log_lines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "supervisor_progress" and event["child"] in names:
            started_at[event["child"]] = event["timestamp"]
    # A supervisor is up when its children are; replicas go one after another, below one that stays.
    order = names if steps[1]["action"] == "start" else [*names[1:], names[0]]
    assert [started_at[name] for name in order] == sorted(started_at[name] for name in order)
