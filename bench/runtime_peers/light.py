"""Measure light actors: the real table and scheduler on a real loop, in one process, without durable state.

python -m bench.runtime_peers.light ACTORS MESSAGES

Rates are per second of CPU time of this process, which has one thread: what one core does, also while the machine has
other work. Bytes are the growth of the proportional set size per actor, its key and its place in the table included.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from collections.abc import Sequence

from bench.cpu import proportional_set_bytes
from bench.runtime_peers.measurement import report
from bitnexus.actors.runtime.light import Ask, Crash, LightActor, Limits
from bitnexus.actors.runtime.light_loop import LightActorLoop
from bitnexus.actors.runtime.loops import new_event_loop
from bitnexus.errors import BitNexusError

#: Messages told between two words of the loop's.
BURST = 1_000
ASKERS = 1_000
HOT = 10
STOPPED = 100_000


class Counter(LightActor[int, None, None]):
    """The smallest actor that has a state."""

    __slots__ = ("total",)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.total = 0

    def receive(self, message: int, context: None) -> None:
        """Add the message."""
        self.total += message


class Echo(LightActor[int, Ask, int]):
    """Answers with what it is asked."""

    __slots__ = ()

    def receive(self, message: int, context: Ask) -> int:
        """The answer."""
        return message


class Asker(LightActor[int | Ask, None, Ask]):
    """Told a number, it makes as many requests, one after another."""

    __slots__ = ("_echo", "_left")

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._left = 0
        self._echo = key.replace("asker", "echo")

    def receive(self, message: int | Ask, context: None) -> Ask | None:
        """The next request."""
        if isinstance(message, Ask):
            assert message.result == self._left
        else:
            self._left = message + 1
        self._left -= 1
        return Ask(self._echo, self._left) if self._left else None


class Bench:
    """Owner of the actors."""

    def make(self, key: str, state: None) -> LightActor[int, None, None]:
        """A fresh actor of the kind that its key begins with."""
        kind: type = {"a": Asker, "e": Echo}.get(key[0], Counter)
        actor: LightActor[int, None, None] = kind(key)
        return actor

    def emit(self, actor: LightActor[int, None, None], output: None, context: None) -> None:
        """Never called: a counter says nothing."""
        raise AssertionError

    def undelivered(self, key: str, message: int, context: None, error: BitNexusError) -> None:
        """Nothing may fail here."""
        raise error

    def crashed(self, crash: Crash, context: object) -> bool:
        """They are killed, and stay so."""
        assert crash.reason == "killed", crash.reason
        return False


class Run:
    """One table and what is measured of it."""

    def __init__(self, actors: int) -> None:
        self.host: LightActorLoop[int, None, None, None] = LightActorLoop(
            Bench(), Limits(max_actors=actors + 2 * ASKERS, mailbox=BURST)
        )
        self.table = self.host.actors

    async def settled(self, received: int) -> None:
        """Wait until so many messages have been received since the start."""
        while self.table.counters.received < received:
            await asyncio.sleep(0)

    async def start(self, count: int) -> float:
        """Start actors; how many a second."""
        began = time.process_time()
        for number in range(count):
            self.table.start(f"{number:08x}-0000-4000-8000-000000000000")
            if number % BURST == 0:
                await asyncio.sleep(0)
        return count / (time.process_time() - began)

    async def messages(self, keys: Sequence[str]) -> float:
        """Tell one message to each of the keys; how many were received a second."""
        base = self.table.counters.received
        began = time.process_time()
        for first in range(0, len(keys), BURST):
            for key in keys[first : first + BURST]:
                self.table.tell(key, 1, None)
            await self.settled(base + first + len(keys[first : first + BURST]))
        return len(keys) / (time.process_time() - began)

    async def requests(self, each: int) -> float:
        """Let 1,000 actors ask 1,000 others; how many request–replies a second."""
        for number in range(ASKERS):
            self.table.start(f"asker{number}")
            self.table.start(f"echo{number}")
        base = self.table.counters.received
        began = time.process_time()
        for number in range(ASKERS):
            self.table.tell(f"asker{number}", each, None)
        await self.settled(base + ASKERS * (1 + 2 * each))
        return ASKERS * each / (time.process_time() - began)


async def measure(actors: int, messages: int) -> dict[str, float]:
    """All measurements, one after another."""
    run = Run(actors)
    gc.collect()
    gc.freeze()  # as a process of the node does when it has started
    before, _ = proportional_set_bytes(os.getpid())
    results = {"starts": await run.start(actors)}
    gc.collect()
    after, _ = proportional_set_bytes(os.getpid())
    results["bytes"] = (after - before) / actors
    keys = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(actors)]
    random.shuffle(keys)
    results["spread_all"] = await run.messages(keys)
    some = keys[:BURST]
    results["spread_1000"] = await run.messages(some * (messages // len(some)))
    results["hot"] = await run.messages(some[:HOT] * (messages // HOT))
    results["requests"] = await run.requests(messages // ASKERS // 2)
    stopped = keys[:STOPPED]
    began = time.perf_counter()
    for key in stopped:
        run.table.kill(key)
    results["stop_s"] = (time.perf_counter() - began) * STOPPED / len(stopped)
    await run.host.stop()
    return results


def main() -> None:
    """Measure and report."""
    actors, messages = int(sys.argv[1]), int(sys.argv[2])
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        report(runner.run(measure(actors, messages)))


if __name__ == "__main__":
    main()
