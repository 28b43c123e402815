"""Kill any process at any moment, under load: it only takes a little longer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from bitnexus.storage.embedded import borrow
from tests.chaos.audit import audit
from tests.chaos.clients import Break, Diary, Payer
from tests.customers import Customer, Teller, session_with
from tests.running import STOP_PROMISED_S, RunningService, accepts_connections

CLIENTS = 32
LOAD_S = 30.0
FUNDS = 10_000_000
VICTIMS = ("ledger", "transactions-0", "transactions-1", "notifier", "http-0", "http-1")
#: A killed process must be up again within this; far more than it takes, but the machine may be busy.
RESTART_WITHIN_S = 10.0
#: Between one restart and the next kill, at most.
LONGEST_PAUSE_S = 1.0
#: A connection that was made but not yet accepted when its front died has no owner by which to tell.
UNACCEPTED_S = 0.5


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill; for a front, the ports of clients connected to the fronts that went on."""

    victim: str
    at: float
    restarted_after_s: float
    safe_ports: frozenset[int]


class Killer:
    """Kills processes one at a time, in random order, and waits for each to be up again."""

    def __init__(self, service: RunningService, rng: random.Random) -> None:
        self._service = service
        self._rng = rng
        self.kills: list[Kill] = []

    async def run(self, until: float) -> None:
        """Kill until this time of the monotonic clock."""
        while time.monotonic() < until:
            for victim in self._rng.sample(VICTIMS, len(VICTIMS)):
                if time.monotonic() >= until:
                    break
                await self._kill(victim)
                await asyncio.sleep(self._rng.uniform(0.0, LONGEST_PAUSE_S))  # load between two kills, of any length

    async def _kill(self, victim: str) -> None:
        pid = self._service.pid_of(victim)
        assert pid is not None, f"{victim} was never reported"
        safe_ports: frozenset[int] = frozenset()
        if victim.startswith("http-"):
            # It must not accept anything between the look at its connections and its end.
            os.kill(pid, signal.SIGSTOP)
            safe_ports = self._ports_of_others(victim)
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(RESTART_WITHIN_S):
            while not self._service.has_pid(victim, other_than=pid):
                await asyncio.sleep(0.01)
        self.kills.append(Kill(victim, killed_at, time.monotonic() - killed_at, safe_ports))

    def _ports_of_others(self, victim: str) -> frozenset[int]:
        ports: set[int] = set()
        for name in VICTIMS:
            if name.startswith("http-") and name != victim and (pid := self._service.pid_of(name)) is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    connections = psutil.Process(pid).net_connections("tcp4")
                    # Its clients alone: a process that it talks to may have the number of a port of theirs.
                    ports.update(
                        found.raddr.port
                        for found in connections
                        if found.raddr and found.laddr.port == self._service.port
                    )
        return frozenset(ports)

    def explains(self, broken: Break) -> bool:
        """Whether a front was killed to which this connection may have belonged."""
        return any(
            kill.victim.startswith("http-")
            and kill.at <= broken.broke_at
            and broken.opened_at <= kill.at + UNACCEPTED_S
            and broken.broke_at <= kill.at + UNACCEPTED_S
            and broken.local_port not in kill.safe_ports
            for kill in self.kills
        )

    def summary(self) -> str:
        """One line for each kill, for messages."""
        return "\n".join(
            f"  {kill.victim} killed, up again after {kill.restarted_after_s:.3f} s" for kill in self.kills
        )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    with RunningService(tmp_path, {"BITNEXUS_PROFILE": "test"}) as service:
        service.start()
        yield service


async def pay_and_kill(service: RunningService, rng: random.Random) -> tuple[Diary, Killer]:
    async with session_with(service) as session:
        teller = await Teller.begin(service, session)
        customers = await teller.customers(CLIENTS, funds=FUNDS)
    diary, killer = Diary(), Killer(service, rng)
    await pay_meanwhile(service, customers, diary, killer, rng)
    return diary, killer


async def pay_meanwhile(
    service: RunningService, customers: list[Customer], diary: Diary, killer: Killer, rng: random.Random
) -> None:
    stop = asyncio.Event()
    payers = [Payer(service.port, customers, diary, random.Random(rng.random())) for _ in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for payer in payers:
            group.create_task(payer.run(stop))
        try:
            await killer.run(time.monotonic() + LOAD_S)
        finally:
            stop.set()


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_killing_processes_under_load_loses_nothing_and_fails_no_request(service: RunningService):
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().getrandbits(32))
    diary, killer = await pay_and_kill(service, random.Random(seed))
    story = f"CHAOS_SEED={seed}: {diary.summary()}\n{killer.summary()}"
    print(story)  # noqa: T201 - shown with a failure, and by -s

    assert {kill.victim for kill in killer.kills} == set(VICTIMS), story
    assert not diary.complaints, "\n".join([story, *diary.complaints])
    assert [broken for broken in diary.breaks if not killer.explains(broken)] == [], story
    assert len(diary.acknowledged) > CLIENTS, story

    stopped_at = time.monotonic()
    service.process.terminate()
    assert await asyncio.to_thread(service.wait) == 0, story
    assert time.monotonic() - stopped_at < STOP_PROMISED_S, story
    assert service.processes() == [], story
    assert not accepts_connections(service.port), story
    assert not (service.data_dir / "postgresql.lock").exists(), story

    with borrow(service.data_dir) as url:
        assert await audit(url, diary.acknowledged) == [], story
