"""Measure calls and casts between processes of a node.

python -m bench.runtime_peers.node SECONDS PROCESSES
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from bench.runtime_peers.measurement import loopback_up, report
from bench.runtime_peers.node_actors import Go, Result
from bitnexus.actors.runtime.message import Done
from bitnexus.actors.runtime.node import Node
from bitnexus.config import Settings, use
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags

ITEMS = 500
PATIENCE_S = 60.0
STOP_S = 30.0


async def exchange(node: Node, pairs: list[tuple[str, str]], go: Callable[[str], Go]) -> tuple[float, list[float]]:
    """Let each first of a pair exchange with its second at the same time: what was done a second, and times."""
    calls = [node.call(one, go(other), timeout_s=PATIENCE_S) for one, other in pairs]
    results = [answer for answer in await asyncio.gather(*calls) if isinstance(answer, Result)]
    return sum(each.rate for each in results), [each for result in results for each in result.times]


async def measure(node: Node, seconds: float) -> dict[str, float]:
    """All measurements between two processes, one after another."""
    results: dict[str, float] = {}
    await node.call("peer-1", Done())
    times = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await node.call("peer-0", Done())
        times.append(time.perf_counter() - began)
    results["ask_ms"] = statistics.median(times) * 1000
    _, times = await exchange(node, [("peer-0", "peer-1")], partial(Go, seconds=seconds))
    results["round_trip_ms"] = statistics.median(times) * 1000
    results["one_way"], _ = await exchange(node, [("peer-0", "peer-1")], partial(Go, seconds=seconds, burst=ITEMS))
    both = [("peer-0", "peer-1"), ("peer-1", "peer-0")]
    results["both_directions"], _ = await exchange(node, both, partial(Go, seconds=seconds, window=16))
    results["both_directions_256"], _ = await exchange(node, both, partial(Go, seconds=seconds, window=256))
    rate, _ = await exchange(node, [("peer-0", "peer-1")], partial(Go, seconds=seconds, items=ITEMS))
    results["batch_items"] = rate * ITEMS
    return results


def start(count: int) -> tuple[Launcher, float]:
    """A tree of so many processes, and the seconds until all were up."""
    peers = [
        ChildSpec(f"peer-{number}", ProcessStart("bench.runtime_peers.node_actors:Peer")) for number in range(count)
    ]
    launcher = Launcher("bench", SupervisorFlags(), peers)
    began = time.perf_counter()
    launcher.start()
    return launcher, time.perf_counter() - began


def stop(launcher: Launcher) -> float:
    """End it in order; the seconds that took."""
    began = time.perf_counter()
    in_time = launcher.loop.run_until_complete(launcher.stop(STOP_S))
    spent_s = time.perf_counter() - began
    launcher.close()
    assert in_time, "the tree did not stop in time"
    return spent_s


def main() -> None:
    """Two trees, one after another: of two processes, and of many. What the many take more is their start."""
    seconds, processes = float(sys.argv[1]), int(sys.argv[2])
    loopback_up()
    use(Settings(profile="test", log_format="json", log_level="error", database_url="postgresql://nowhere/none"))
    launcher, two_s = start(2)
    results = launcher.loop.run_until_complete(measure(launcher.node, seconds))
    stop(launcher)
    launcher, many_s = start(processes)
    results["start_many_s"] = many_s
    results["start_ms"] = (many_s - two_s) / max(1, processes - 2) * 1000
    results["stop_many_s"] = stop(launcher)
    report(results)


if __name__ == "__main__":
    main()
