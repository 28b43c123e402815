"""``make chaos-channels``: kills notifier, fronts and ledger while clients listen and others pay; the log is the judge.

    python -m tests.chaos.channels [--clients 500] [--kills 50] [--seed N]

The whole service on a durable PostgreSQL. Each client listens to its user's transactions and notifications, comes back
when its front dies, and resumes. At the end every client must have every event of its topics since it came, exactly
once, in order, as the log has it. The same seed makes the same plan, not the same run. Exit code 1 if a promise was
broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import orjson

from bitnexus.actors.notifier.events import topic_events
from bitnexus.storage import ledger
from bitnexus.storage.embedded import borrow
from tests.chaos.audit import audit
from tests.chaos.clients import Diary, Payer
from tests.chaos.connection import Connection
from tests.chaos.listeners import Heard, Listener, Notebook, digest
from tests.customers import Customer, Teller, session_with
from tests.running import RunningService

VICTIMS: Final = ("notifier", "http-0", "http-1", "ledger")
CLIENTS_PER_USER: Final = 10
PAYERS: Final = 4
FUNDS: Final = 10_000_000
#: Between two transfers of one payer: what a client misses while it is away must be less than it can recover.
PAYERS_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 1.0
RESTART_WITHIN_S: Final = 20.0
#: Within this after the last kill everybody has heard of everything.
END_WITHIN_S: Final = 60.0
_PAGE: Final = 5_000


class CalmPayer(Payer):
    """Rests between two transfers."""

    async def run(self, stop: asyncio.Event) -> None:
        """Pay until `stop`."""
        while not stop.is_set():
            await self._pay()
            await asyncio.sleep(PAYERS_PAUSE_S)
        self._hang_up()

    async def _connected(self) -> Connection:
        while True:  # the time for the whole of an answer is bounded
            try:
                return await super()._connected()
            except ConnectionRefusedError:  # both fronts are dead
                await asyncio.sleep(PAYERS_PAUSE_S)


@dataclass
class Report:
    """What happened; `broken` are the promises that were not kept."""

    seed: int
    clients: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    restarts_s: list[float] = field(default_factory=list)
    listened: dict[str, int] = field(default_factory=dict)
    transfers: int = 0
    settled_s: float = 0.0
    broken: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        times = self.restarts_s or [0.0]
        median = {"median": round(statistics.median(times), 3), "max": round(max(times), 3)}
        return {**vars(self), "restarts_s": median, "settled_s": round(self.settled_s, 1)}


class Chaos:
    """One run against a service that is up."""

    def __init__(self, service: RunningService, report: Report, progress: Callable[[str], None]) -> None:
        self._service = service
        self._report = report
        self._progress = progress
        self._chance = random.Random(report.seed)
        self._notebook = Notebook()
        self._diary = Diary()
        self._listeners: list[Listener] = []

    async def run(self, clients: int, kills: int) -> None:
        """Have them listen and pay, kill, and wait until everybody has heard of everything."""
        async with session_with(self._service) as session:
            teller = await Teller.begin(self._service, session)
            customers = await teller.customers(max(2, clients // CLIENTS_PER_USER), funds=FUNDS)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(self._service.address, connector=connector) as session:
            self._listeners = [
                Listener(session, customers[number % len(customers)], self._notebook, self._chance)
                for number in range(clients)
            ]
            self._report.clients = clients
            listening = [asyncio.create_task(listener.run()) for listener in self._listeners]
            try:
                await self._until(lambda: all(each.joined == 2 for each in self._listeners), "all have joined")
                self._progress(f"{clients} clients of {len(customers)} users listen")
                await self._kill_while_paying(customers, kills)
                began = time.monotonic()
                with borrow(self._service.data_dir) as url:
                    await self._judge(url, [each.user_id for each in customers])
                self._report.settled_s = time.monotonic() - began
            finally:
                for task in listening:
                    task.cancel()
                ends = await asyncio.gather(*listening, return_exceptions=True)
        self._report.broken += [repr(end) for end in ends if not isinstance(end, asyncio.CancelledError)]
        self._report.broken += self._notebook.complaints + self._diary.complaints
        self._report.listened = dict(self._notebook.counts)

    async def _kill_while_paying(self, customers: Sequence[Customer], kills: int) -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(PAYERS):
                rng = random.Random(self._chance.random())
                group.create_task(CalmPayer(self._service.port, customers, self._diary, rng).run(stop))
            try:
                for number in range(kills):
                    await asyncio.sleep(self._chance.uniform(0.05, LONGEST_PAUSE_S))
                    # All of them, again and again; in between, two at a time.
                    victims = {VICTIMS[number % len(VICTIMS)]}
                    if self._chance.random() < 0.2:
                        victims.add(self._chance.choice(VICTIMS))
                    await self._kill(sorted(victims))
                    if (number + 1) % 10 == 0:
                        self._progress(f"{number + 1:>4} of {kills} kills  {dict(self._notebook.counts)}")
            finally:
                stop.set()

    async def _kill(self, victims: Sequence[str]) -> None:
        pids = {name: self._service.pid_of(name) for name in victims}
        began = time.monotonic()
        for name, pid in pids.items():
            assert pid is not None, f"{name} was never reported"
            os.kill(pid, signal.SIGKILL)
            self._report.kills[name] += 1
        up = self._service.has_pid
        await self._until(
            lambda: all(up(name, other_than=pid) for name, pid in pids.items()), f"{victims} up again", RESTART_WITHIN_S
        )
        self._report.restarts_s.append(time.monotonic() - began)

    async def _until(self, condition: Callable[[], bool], what: str, within_s: float = END_WITHIN_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s: {what}; {dict(self._notebook.counts)}")
            await asyncio.sleep(0.01)

    # -- the judgement -------------------------------------------------------------------------------------------

    async def _judge(self, url: str, users: Sequence[str]) -> None:
        """Read the whole log, wait until all have come to its end, and compare."""
        db = await asyncpg.connect(url)
        try:
            told = await _told(db, users)
            self._report.transfers = int(await db.fetchval("SELECT count(*) FROM ledger_transfers"))
        finally:
            await db.close()
        heard = [each for listener in self._listeners for each in listener.heard]
        try:
            await self._until(lambda: all(each.seq >= len(told[each.topic]) for each in heard), "all have heard of all")
        except AssertionError as late:
            self._report.broken.append(str(late))
        wrong = [complaint for each in heard if (complaint := _compared(each, told[each.topic]))]
        self._report.broken += wrong[:20]
        self._report.broken += await audit(url, self._diary.acknowledged)


async def _told(db: Any, users: Sequence[str]) -> dict[str, list[tuple[str, dict[str, Any], str]]]:
    """By topic, all events that the log has for it: name, payload, and when it happened."""
    topics = [f"{family}:{user}" for user in users for family in ("transaction", "notification")]
    told: dict[str, list[tuple[str, dict[str, Any], str]]] = {topic: [] for topic in topics}
    seq = -1
    while True:
        page = await ledger.events_after(db, seq, limit=_PAGE)
        for event in page.told:
            for each in topic_events(event, page.owners, told):
                told[each.topic] += [(name, orjson.loads(text), each.ts) for name, text in each.events]
        seq += len(page.events)
        if len(page.events) < _PAGE:
            return told


def _compared(heard: Heard, told: Sequence[tuple[str, dict[str, Any], str]]) -> str | None:
    if heard.began < 0:
        return f"{heard.topic}: never joined"
    due = [
        digest(name, {**payload, "_meta": {"epoch": heard.epoch, "seq": number, "ts": ts}})
        for number, (name, payload, ts) in enumerate(told, 1)
        if number > heard.began
    ]
    if heard.events == due:
        return None
    return f"{heard.topic}: {len(heard.events)} events heard after {heard.began}, {len(due)} in the log"


def chaos(directory: Path, seed: int, clients: int, kills: int, progress: Callable[[str], None]) -> Report:
    """Run it in `directory`."""
    report = Report(seed)
    with RunningService(directory, {"BITNEXUS_PROFILE": "test"}) as service:
        service.start()
        try:
            asyncio.run(Chaos(service, report, progress).run(clients, kills))
        except AssertionError as error:
            report.broken.append(str(error))
        if report.broken:
            report.broken.append(service.last_lines())
    return report


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bitnexus-chaos-") as directory:
        report = chaos(
            Path(directory),
            options.seed,
            options.clients,
            options.kills,
            lambda line: print(f"{time.monotonic() - begun:6.0f} s {line}", flush=True),
        )
    print(json.dumps(report.as_dict(), indent=2))
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
