"""Measure a system base of Thespian through Thespian's own interface.

python -m bench.runtime_peers.thespian_base (stock | ours) SECONDS PROCESSES
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import time
from typing import Any

from thespian.actors import ActorSystem

from bench.runtime_peers.measurement import loopback_up, report
from bench.runtime_peers.thespian_actors import Go, Parent, Peer, Ping, StartMany
from bitnexus.config import Settings, use

ITEMS = 500
PATIENCE_S = 60
STARTS = 20


def start(base: str) -> ActorSystem:
    """A system of its own on one of the two bases."""
    log_definitions: dict[str, Any] = {"version": 1, "root": {"level": "ERROR"}}
    if base == "ours":
        # Here, because it changes parts of Thespian: the stock base is measured as it comes.
        from bitnexus.actors.runtime.system import start_system  # noqa: PLC0415

        return ActorSystem(start_system(free_port(), log_definitions), transientUnique=True)
    return ActorSystem("multiprocTCPBase", {"Admin Port": free_port()}, log_definitions, transientUnique=True)


def free_port() -> int:
    """For the admin, that it may not be found by another bench."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def exchange(system: ActorSystem, pairs: list[tuple[Any, Any]], go: dict[str, Any]) -> tuple[float, list[float]]:
    """Let each first of a pair exchange with its second at the same time: what was done a second, and times."""
    for one, other in pairs:
        system.tell(one, Go(other, **go))
    answers = [system.listen(PATIENCE_S) for _ in pairs]
    assert None not in answers, "an exchange did not end"
    return sum(rate for rate, _ in answers), [each for _, times in answers for each in times]


def measure(system: ActorSystem, seconds: float, processes: int) -> dict[str, float]:
    """All measurements, one after another."""
    results: dict[str, float] = {}
    one, other = system.createActor(Peer), system.createActor(Peer)
    for each in (one, other):
        assert system.ask(each, Ping([]), PATIENCE_S) is not None
    times = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        assert system.ask(one, Ping([]), PATIENCE_S) is not None
        times.append(time.perf_counter() - began)
    results["ask_ms"] = statistics.median(times) * 1000
    _, times = exchange(system, [(one, other)], {"seconds": seconds})
    results["round_trip_ms"] = statistics.median(times) * 1000
    results["one_way"], _ = exchange(system, [(one, other)], {"seconds": seconds, "burst": ITEMS})
    go = {"seconds": seconds, "window": 16}
    results["both_directions"], _ = exchange(system, [(one, other), (other, one)], go)
    rate, _ = exchange(system, [(one, other)], {"seconds": seconds, "items": ITEMS})
    results["batch_items"] = rate * ITEMS
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        assert system.ask(system.createActor(Peer), Ping([]), PATIENCE_S) is not None
        times.append(time.perf_counter() - began)
    results["start_ms"] = statistics.median(times) * 1000
    parent = system.createActor(Parent)
    began = time.perf_counter()
    assert system.ask(parent, StartMany(processes), PATIENCE_S) == "started"
    results["start_many_s"] = time.perf_counter() - began
    began = time.perf_counter()
    assert system.ask(parent, "stop", PATIENCE_S) == "stopped"
    results["stop_many_s"] = time.perf_counter() - began
    return results


def main() -> None:
    """Start the base, measure, shut it down."""
    base, seconds, processes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    loopback_up()
    os.environ["THESPLOG_FILE_MAXSIZE"] = "0"
    use(Settings(profile="test", log_format="json", database_url="postgresql://nowhere/none"))
    system = start(base)
    try:
        report(measure(system, seconds, processes))
    finally:
        system.shutdown()


if __name__ == "__main__":
    main()
