"""Fan-out: one event each 100 ms to 2,000 WebSocket clients of one topic, BitNexus beside a bare aiohttp server.

    python -m bench.channels [--clients 2000] [--rounds 3] [--seconds 8]

An event of BitNexus is a transfer: its time begins when the request leaves and ends when the last client has the event,
so that the ledger's commit is in it, and the notifier; at the bare server an event is a POST, and in the time is the
fan-out alone. Joins are counted from the first connection to the last answered join, upgrade and token included. Memory
is what the server's processes have grown by, all together (Pss), divided by the clients. The clients are in
processes of their own, but on the same machine; rounds are interleaved, and only ratios within a round say something.

Exit code: 0; 1 when a client missed an event or got one twice, or was cut off. Missed goals are said, and with --strict
count as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.cpu import machine_seconds, proportional_set_bytes, snapshot
from bench.peers import aiohttp_fanout
from bitnexus import __version__
from tests.customers import Customer, Teller, session_with
from tests.running import ROOT, RunningService, accepts_connections, free_port, wait_until

RESULTS: Final = Path(__file__).with_name("results") / "channels.json"
EVERY_S: Final = 0.1
LOADERS: Final = 2
GOAL_LAST_MS, GOAL_BYTES, GOAL_JOINS_PER_S = 60.0, 20_000, 2_000
_START_S, _ANSWER_S = 30.0, 90.0
_FUNDS: Final = 1_000_000
_LONGEST_LINE: Final = 64 * 1024 * 1024
_HUNDRED: Final = 100
_MARK: Final = "event "


@dataclass(frozen=True, slots=True)
class Round:
    """What one contestant did in one round. `last_ms` are the times to the last client, event by event."""

    contestant: str
    number: int
    joins_per_s: float
    bytes_per_client: float
    last_ms: list[float]
    cpu_us_per_event: float
    others: float  # CPUs that were busy with something else
    complaints: list[str]

    def percentile_ms(self, share: float) -> float:
        """Of the times to the last client."""
        ordered = sorted(self.last_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Contestant(Protocol):
    """A server with one topic."""

    name: str
    port: int
    path: str
    topic: str
    token: str

    async def start(self) -> None:
        """Start it."""

    async def publish(self, session: aiohttp.ClientSession, mark: str) -> None:
        """Make one event with this text in it."""

    def serving(self) -> list[int]:
        """The processes that serve clients."""

    def pids(self) -> list[int]:
        """All its processes, but PostgreSQL's."""

    def stop(self) -> None:
        """End it."""


class BitNexus:
    """The service with its settings as they are by default, but for the rate limits; the event is a transfer."""

    name = "BitNexus"
    path = "/socket/websocket?vsn=2.0.0"

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._service = RunningService(directory, {"BITNEXUS_PARTITIONS": "1"})
        self.port = self._service.port

    async def start(self) -> None:
        """Two users: the clients are of the one who is paid."""
        await asyncio.to_thread(self._service.start)
        async with session_with(self._service) as session:
            teller = await Teller.begin(self._service, session)
            payer, payee = await teller.customers(2, funds=_FUNDS)
        self._payer: Customer = payer
        self._payee: Customer = payee
        self.topic, self.token = f"transaction:{payee.user_id}", payee.token

    async def publish(self, session: aiohttp.ClientSession, mark: str) -> None:
        """A transfer."""
        accounts = {"debit_account_id": self._payer.account_id, "credit_account_id": self._payee.account_id}
        fields = {**accounts, "amount": 1, "description": mark}
        headers = {"Authorization": f"Bearer {self._payer.token}"}
        async with session.post("/api/v1/transactions", json={"transaction": fields}, headers=headers) as response:
            response.raise_for_status()

    def serving(self) -> list[int]:
        """The fronts."""
        return [pid for pid, name in self._service.names().items() if name.startswith("http-")]

    def pids(self) -> list[int]:
        """The tree."""
        return [pid for pid, name in self._service.names().items() if name != "postgresql"]

    def stop(self) -> None:
        """End it, whatever state it is in."""
        self._service.close()


class BareAiohttp:
    """`bench.peers.aiohttp_fanout`."""

    name = "bare aiohttp"
    path, topic, token = aiohttp_fanout.SOCKET, "bench", ""

    def __init__(self) -> None:
        self.port = free_port()

    async def start(self) -> None:
        """Start it."""
        self._launch()
        await asyncio.to_thread(
            wait_until, lambda: accepts_connections(self.port), _START_S, lambda: "the peer does not start"
        )

    def _launch(self) -> None:
        command = [sys.executable, "-m", "bench.peers.aiohttp_fanout", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT)

    async def publish(self, session: aiohttp.ClientSession, mark: str) -> None:
        """A POST of as much as a transfer's payload."""
        body = {"description": mark, "id": "0" * 36, "pad": "x" * 500}
        async with session.post(aiohttp_fanout.PUBLISH, json=body) as response:
            response.raise_for_status()

    def serving(self) -> list[int]:
        """It alone."""
        return [self._process.pid]

    pids = serving

    def stop(self) -> None:
        """End it."""
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait(_START_S)


class Loaders:
    """The clients' processes."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, contestant: Contestant, clients: int) -> AsyncIterator[Loaders]:
        """So many clients, that begin to connect at once."""
        processes = []
        try:
            for number in range(LOADERS):
                share = clients // LOADERS + (number < clients % LOADERS)
                command = ["-m", "bench.channel_load", "--port", str(contestant.port), "--path", contestant.path]
                command += ["--topic", contestant.topic, "--clients", str(share)]
                pipe = asyncio.subprocess.PIPE
                environment = {**os.environ, "BENCH_TOKEN": contestant.token}
                processes.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable,
                        *command,
                        cwd=ROOT,
                        env=environment,
                        stdin=pipe,
                        stdout=pipe,
                        limit=_LONGEST_LINE,
                    )
                )
            yield cls(processes)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    def pids(self) -> list[int]:
        """Their ids."""
        return [process.pid for process in self._processes]

    async def told(self, what: str) -> list[dict[str, Any]]:
        """The next line of each."""
        lines = []
        async with asyncio.timeout(_ANSWER_S):
            for process in self._processes:
                assert process.stdout is not None
                line = await process.stdout.readline()
                if not line:
                    raise RuntimeError("a process of clients has failed")
                lines.append(json.loads(line))
        assert all(line["what"] == what for line in lines)
        return lines

    def end(self) -> None:
        """Have them tell what they heard."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()


async def one_round(contestant: Contestant, number: int, clients: int, events: int) -> Round:
    """Connect all, make the events, count."""
    before = _memory(contestant)
    async with (
        Loaders.started(contestant, clients) as loaders,
        aiohttp.ClientSession(f"http://127.0.0.1:{contestant.port}") as session,
    ):
        joins = await loaders.told("joined")
        took_s = max(each["ended"] for each in joins) - min(each["began"] for each in joins)
        grown = _memory(contestant) - before
        watched = {**dict.fromkeys(contestant.pids(), "server"), **dict.fromkeys(loaders.pids(), "load")}
        used, busy, began = snapshot(watched), machine_seconds(), time.monotonic()
        sent = await _publish(contestant, session, events)
        await asyncio.sleep(2 * EVERY_S)  # the last event is on its way
        passed_s = time.monotonic() - began
        spent = {kind: seconds - used[kind] for kind, seconds in snapshot(watched).items()}
        others = max(0.0, machine_seconds() - busy - sum(spent.values())) / passed_s
        loaders.end()
        heard = await loaders.told("heard")
    complaints = [why for each, load in zip(_shares(clients), heard, strict=True) for why in _wrong(load, each, events)]
    last = [max(times) for times in zip(*(load["last_at"] for load in heard), strict=False)]
    last_ms = [
        (arrived - left) * 1000
        for arrived, left in zip(last, (sent[number] for number in _order(heard[0])), strict=False)
    ]
    joins_per_s, cpu_us = clients / took_s, spent["server"] / events * 1e6
    return Round(contestant.name, number, joins_per_s, grown / clients, last_ms, cpu_us, others, complaints)


async def _publish(contestant: Contestant, session: aiohttp.ClientSession, events: int) -> list[float]:
    """One event each 100 ms, whether the one before has been answered or not; when each left."""
    sent, tasks, begin = [], [], time.monotonic()
    for number in range(events):
        await asyncio.sleep(max(0.0, begin + number * EVERY_S - time.monotonic()))
        sent.append(time.monotonic())
        tasks.append(asyncio.create_task(contestant.publish(session, f"{_MARK}{number}")))
    await asyncio.gather(*tasks)
    return sent


def _shares(clients: int) -> list[int]:
    return [clients // LOADERS + (number < clients % LOADERS) for number in range(LOADERS)]


def _wrong(heard: dict[str, Any], clients: int, events: int) -> list[str]:
    """What is wrong with what a process of clients heard."""
    found = []
    if heard["closed"]:
        found.append(f"{heard['closed']} connections ended early")
    if heard["counts"] != [clients] * events:
        found.append(f"{clients} clients were to get {events} events each, and got {sum(heard['counts'])} in all")
    if sorted(_order(heard)) != [*range(events)]:
        found.append("a client did not get each event once")
    return found


def _order(heard: dict[str, Any]) -> list[int]:
    """The events in the order in which they came, the same for all: two under way at once may change places."""
    return [int(json.loads(text)[4]["description"].removeprefix(_MARK)) for text in heard["first"]]


def _memory(contestant: Contestant) -> int:
    return sum(proportional_set_bytes(pid)[0] for pid in contestant.serving())


def table(rounds: Sequence[Round]) -> Table:
    """The medians of the rounds."""
    shown = Table(title="One event each 100 ms to all clients of a topic (median of the rounds)")
    for column in (
        "contestant",
        "last p50 ms",
        "last p99 ms",
        "joins/s",
        "KB a client",
        "CPU ms an event",
        "CPUs lost",
    ):
        shown.add_column(column, justify="left" if column == "contestant" else "right")
    for name in dict.fromkeys(one.contestant for one in rounds):
        own = [one for one in rounds if one.contestant == name]
        shown.add_row(
            name,
            f"{statistics.median(one.percentile_ms(0.5) for one in own):.1f}",
            f"{statistics.median(one.percentile_ms(0.99) for one in own):.1f}",
            f"{statistics.median(one.joins_per_s for one in own):,.0f}",
            f"{statistics.median(one.bytes_per_client for one in own) / 1000:.1f}",
            f"{statistics.median(one.cpu_us_per_event for one in own) / 1000:.1f}",
            f"{statistics.median(one.others for one in own):.2f}",
        )
    return shown


def goals(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """What was promised of BitNexus, and what the median round did."""
    own = [one for one in rounds if one.contestant == BitNexus.name]
    found = {
        "ms to the last client at p99": (statistics.median(one.percentile_ms(0.99) for one in own), GOAL_LAST_MS),
        "bytes a client": (statistics.median(one.bytes_per_client for one in own), GOAL_BYTES),
        "joins/s": (statistics.median(one.joins_per_s for one in own), GOAL_JOINS_PER_S),
    }
    return [
        {"what": what, "median": median, "goal": goal, "met": median >= goal if what == "joins/s" else median <= goal}
        for what, (median, goal) in found.items()
    ]


def ratios(rounds: Sequence[Round]) -> dict[str, list[float]]:
    """BitNexus through the bare server, round by round."""
    pairs = {number: {one.contestant: one for one in rounds if one.number == number} for number in range(1, _HUNDRED)}
    both = [(pair[BitNexus.name], pair[BareAiohttp.name]) for pair in pairs.values() if len(pair) > 1]
    return {
        "last client, p99": [ours.percentile_ms(0.99) / bare.percentile_ms(0.99) for ours, bare in both],
        "last client, p50": [ours.percentile_ms(0.5) / bare.percentile_ms(0.5) for ours, bare in both],
        "joins/s": [ours.joins_per_s / bare.joins_per_s for ours, bare in both],
        "memory": [ours.bytes_per_client / bare.bytes_per_client for ours, bare in both],
    }


async def measure(options: argparse.Namespace, console: Console) -> list[Round]:
    """Start both, a short warm-up, all rounds, end both."""
    events = int(options.seconds / EVERY_S)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory:
        for number in range(options.rounds + 1):
            # Fresh servers for each round: what one has once grown by it keeps, and would hide what a client costs.
            for contestant in (BitNexus(Path(directory, f"bitnexus-{number}")), BareAiohttp()):
                with console.status(f"{contestant.name}: {f'round {number}' if number else 'warm-up'} …"):
                    try:
                        await contestant.start()
                        clients = options.clients if number else min(options.clients, _HUNDRED)
                        done = await one_round(contestant, number, clients, events if number else 10)
                    finally:
                        contestant.stop()
                if number:
                    rounds.append(done)
    return rounds


def main() -> None:
    """Measure, print, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of events, in each contestant's part of a round")
    parser.add_argument("--strict", action="store_true", help="exit code 1 for a missed goal, too")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = 120
    rounds = asyncio.run(measure(options, console))
    console.print(table(rounds))
    reached, compared = goals(rounds), ratios(rounds)
    for goal in reached:
        verdict = "met" if goal["met"] else "missed"
        console.print(f"{goal['what']}: {goal['median']:,.0f} (goal {goal['goal']:,.0f}: {verdict})")
    for what, found in compared.items():
        shown = " ".join(f"{ratio:.2f}" for ratio in found)
        console.print(f"BitNexus / bare aiohttp, {what}: {shown}")
    result = {
        "version": __version__,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "options": {"clients": options.clients, "rounds": options.rounds, "seconds": options.seconds},
        "goals": reached,
        "ratios": compared,
        "rounds": [asdict(one) for one in rounds],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    complaints = [f"{one.contestant}, round {one.number}: {why}" for one in rounds for why in one.complaints]
    for complaint in complaints:
        console.print(complaint, style="bold red")
    missed = options.strict and not all(goal["met"] for goal in reached)
    sys.exit(1 if complaints or missed else 0)


if __name__ == "__main__":
    main()
