"""Measure pykka's actors, which are threads, beside the light actors.

python -m bench.runtime_peers.pykka_actors ACTORS MESSAGES
"""

from __future__ import annotations

import gc
import os
import sys
import time

import pykka

from bench.cpu import proportional_set_bytes
from bench.runtime_peers.measurement import report

STOPPED = 100_000


class Counter(pykka.ThreadingActor):
    """The smallest actor that has a state."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: object) -> object:
        """Add the message; answer with the sum."""
        assert isinstance(message, int)
        self.total += message
        return self.total


def measure(actors: int, messages: int) -> dict[str, float]:
    """All measurements, one after another; rates per second of CPU time, as for the light actors."""
    gc.collect()
    before, _ = proportional_set_bytes(os.getpid())
    began = time.process_time()
    refs = [Counter.start() for _ in range(actors)]
    results = {"starts": actors / (time.process_time() - began)}
    refs[-1].ask(0)
    after, _ = proportional_set_bytes(os.getpid())
    results["bytes"] = (after - before) / actors
    for name, some in (("spread_1000", refs[:1000]), ("hot", refs[:10])):
        began = time.process_time()
        for number in range(messages):
            some[number % len(some)].tell(1)
        for ref in some:
            ref.ask(0)  # answered after everything before it
        results[name] = messages / (time.process_time() - began)
    asked = messages // 10
    began = time.process_time()
    for number in range(asked):
        refs[number % 1000].ask(1)
    results["requests"] = asked / (time.process_time() - began)
    began = time.perf_counter()
    for ref in refs:
        ref.stop(block=False)
    for ref in refs:
        ref.actor_stopped.wait(60)
    results["stop_s"] = (time.perf_counter() - began) * STOPPED / actors
    return results


def main() -> None:
    """Measure and report."""
    try:
        report(measure(int(sys.argv[1]), int(sys.argv[2])))
    finally:
        pykka.ActorRegistry.stop_all(block=False)


if __name__ == "__main__":
    main()
