"""An operator restarts subtrees while clients pay each other: nobody notices, and the steps are those foretold."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitnexus.storage.embedded import borrow
from tests.chaos.audit import audit
from tests.chaos.clients import ANSWER_WITHIN_S, Connection, Diary, Payer
from tests.customers import Teller, session_with
from tests.running import RunningService

CLIENTS = 16
VISITORS = 4
VISIT_EVERY_S = 0.002
FUNDS = 10_000_000
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


async def restart(service: RunningService, path: str, *options: str) -> dict[str, Any]:
    """What ``bitnexus restart`` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bitnexus", "restart", path, "--json", *options),
        env=service.environment,
        cwd=service.directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    answer: dict[str, Any] = json.loads(printed)
    return answer


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_a_restart_under_load_goes_in_order_and_fails_no_request(service: RunningService) -> None:
    async with session_with(service) as session:
        teller = await Teller.begin(service, session)
        customers = await teller.customers(CLIENTS, funds=FUNDS)
    diary, stop = Diary(), asyncio.Event()
    payers = [Payer(service.port, customers, diary, random.Random()) for _ in range(CLIENTS)]
    visitors = [Visitor(service.port) for _ in range(VISITORS)]
    paid = []
    async with asyncio.TaskGroup() as group:
        for payer in payers:
            group.create_task(payer.run(stop))
        for visitor in visitors:
            group.create_task(visitor.run(stop))
        try:
            for path in [*STOPS_AND_STARTS] * ROUNDS:
                await asyncio.sleep(PAUSE_S)
                would = await restart(service, path, "--dry-run")
                done = await restart(service, path, "--yes")
                assert (would["outcome"], done["outcome"]) == ("would", "done")
                assert done["steps"] == would["steps"]
                assert [(step["action"], step["path"]) for step in done["steps"]] == STOPS_AND_STARTS[path]
                await _until_started(service, done["steps"])
                paid.append(len(diary.acknowledged))
            await asyncio.sleep(PAUSE_S)
        finally:
            stop.set()
    story = f"{diary.summary()}; {sum(visitor.visits for visitor in visitors)} visits"
    print(story)  # noqa: T201 - shown with a failure, and by -s
    assert not diary.complaints, "\n".join([story, *diary.complaints])
    assert not diary.breaks, (story, diary.breaks)
    assert [failure for visitor in visitors for failure in visitor.failures] == []
    assert set(diary.answers) <= {"201 at attempt 1", "200 at attempt 1"}, story
    assert sorted(set(paid)) == paid, "there was no load between two restarts"

    service.process.terminate()
    assert await asyncio.to_thread(service.wait) == 0, story
    with borrow(service.data_dir) as url:
        assert await audit(url, diary.acknowledged) == [], story


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
