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
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from bench.channel_clients import Loaders, shares
from bench.channel_contestants import BareAiohttp, BitNexus, Contestant
from bench.channel_figures import Round, goals, ratios, table
from bench.cpu import machine_seconds, proportional_set_bytes, snapshot
from bitnexus import __version__

RESULTS: Final = Path(__file__).with_name("results") / "channels.json"
EVERY_S: Final = 0.1
_HUNDRED: Final = 100
_MARK: Final = "event "


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
    complaints = [why for each, load in zip(shares(clients), heard, strict=True) for why in _wrong(load, each, events)]
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
