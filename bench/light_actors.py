"""What a light actor costs: bytes of an idle one, starts a second, messages a second.

    python bench/light_actors.py [--actors 200000] [--messages 2000000]

Runs the real table and scheduler on a real asyncio loop, in one process, without durable state (activation from
PostgreSQL is measured elsewhere). Bytes are the growth of the resident set divided by the number of actors, their
keys and places in the table included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from pathlib import Path

from bitnexus.actors.runtime.light import Crash, LightActor, Limits
from bitnexus.actors.runtime.light_loop import LightActorLoop
from bitnexus.errors import BitNexusError

BURST = 1000


class Counter(LightActor[int, None, None]):
    """The smallest actor that has a state."""

    __slots__ = ("total",)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.total = 0

    def receive(self, message: int, context: None) -> None:
        """Add the message."""
        self.total += message


class Bench:
    """Owner of the actors."""

    def make(self, key: str, state: None) -> Counter:
        """A fresh counter."""
        return Counter(key)

    def emit(self, actor: LightActor[int, None, None], output: None, context: None) -> None:
        """Never called: a counter says nothing."""
        raise AssertionError

    def undelivered(self, key: str, message: int, context: None, error: BitNexusError) -> None:
        """Nothing may fail here."""
        raise error

    def crashed(self, crash: Crash, context: object) -> bool:
        """Nothing may crash here."""
        raise AssertionError(crash.reason)


def resident_bytes() -> int:
    """The resident set of this process."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


async def measure(actors: int, messages: int) -> list[tuple[str, str]]:
    """Start `actors` actors with one message each, then spread `messages` over them in bursts of 1,000."""
    limits = Limits(max_actors=actors, mailbox=1_000_000)
    host: LightActorLoop[int, None, None, None] = LightActorLoop(Bench(), limits)
    table = host.actors

    async def settled(received: int) -> None:
        while table.counters.received < received:
            await asyncio.sleep(0)

    gc.collect()
    before = resident_bytes()
    started = time.perf_counter()
    for n in range(actors):
        table.tell(f"{n:08x}-0000-4000-8000-000000000000", 1, None)
        if (n + 1) % BURST == 0:
            await settled(n + 1)
    await settled(actors)
    start_s = time.perf_counter() - started
    gc.collect()
    size = (resident_bytes() - before) / actors

    keys = [f"{n * 7919 % actors:08x}-0000-4000-8000-000000000000" for n in range(1000)]
    rates = []
    for burst in (keys, keys[:10] * 100):
        started = time.perf_counter()
        base = table.counters.received
        for n in range(messages // 1000):
            for key in burst:
                table.tell(key, 1, None)
            await settled(base + (n + 1) * 1000)
        rates.append(messages // 1000 * 1000 / (time.perf_counter() - started))
    started = time.perf_counter()
    table.sweep(1e12, at_most=2 * actors)
    sweep_s = time.perf_counter() - started
    assert len(table) == 0
    await host.stop()
    return [
        ("actors", f"{actors:,}"),
        ("bytes per idle actor", f"{size:,.0f}"),
        ("started and messaged per s", f"{actors / start_s:,.0f}"),
        ("messages per s, 1,000 actors in turn", f"{rates[0]:,.0f}"),
        ("messages per s, 10 hot actors", f"{rates[1]:,.0f}"),
        ("passivated per s", f"{actors / sweep_s:,.0f}"),
    ]


def main() -> None:
    """Parse the arguments, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=200_000, help="how many actors (default 200000)")
    parser.add_argument("--messages", type=int, default=2_000_000, help="how many messages (default 2000000)")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.actors, arguments.messages))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value:>12}")


if __name__ == "__main__":
    main()
