"""What supervision costs: restarts of light actors and of processes, starts and stops of many.

    python -m bench.supervision [--actors 200000] [--stop 100000] [--kills 200] [--skip-processes]

Light actors run on a real table and a real loop in this process, which has one thread: what they cost is taken from its
CPU time where nothing waits, from the wall clock where something does. The process that is killed is a real one below a
real root supervisor; its restart is over when the new one has answered a call. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from rich.console import Console
from rich.table import Table

from bench.cpu import proportional_set_bytes
from bench.supervised_worker import Where, WhereAreYou
from bitnexus.actors.runtime.light import Crash, LightActor, Limits
from bitnexus.actors.runtime.loops import new_event_loop
from bitnexus.config import Settings, get_settings, logging, use
from bitnexus.errors import BitNexusError
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic_flags import Budget, DynamicFlags
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.light_supervisor import LightSupervisor
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags


@dataclass(frozen=True)
class Row:
    """One measurement; the goal is the most it may be, or the least."""

    name: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def is_met(self) -> bool:
        """As good as its goal."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    def cells(self) -> tuple[str, str, str]:
        """For the table."""
        goal = self.most if self.most is not None else self.least
        value = f"{self.value:,.2f}" if self.value < SMALL else f"{self.value:,.0f}"
        return self.name, value if self.is_met else f"[red]{value}", "" if goal is None else f"{goal:,.0f}"


#: Below this, a number is printed with its hundredths.
SMALL = 10
WORKER = "worker"


class Actor(LightActor[str, None, None]):
    """Receives anything, dies of "die"."""

    __slots__ = ("received",)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.received = 0

    def receive(self, message: str, context: None) -> None:
        """Count the message or die."""
        if message == "die":
            raise ValueError(message)
        self.received += 1


class Children:
    """Owner of the actors: notes when each was made."""

    def __init__(self) -> None:
        self.made = 0
        self.made_at_ns = 0

    def make(self, key: str, state: None) -> Actor:
        """A fresh actor."""
        self.made += 1
        self.made_at_ns = time.perf_counter_ns()
        return Actor(key)

    def emit(self, actor: LightActor[str, None, None], output: None, context: None) -> None:
        """Never called."""
        raise AssertionError

    def undelivered(self, key: str, message: str, context: None, error: BitNexusError) -> None:
        """What an actor died of."""

    def crashed(self, crash: Crash, context: None) -> None:
        """Expected."""

    def reported(self, report: ev.Report) -> None:
        """Nothing is to be reported here."""
        raise AssertionError(report)


Supervised = LightSupervisor[str, None, None, None]


def supervisor(children: Children, actors: int) -> Supervised:
    """A dynamic supervisor with budgets that are never used up."""
    limits = Limits(max_actors=actors + 1)
    budget = Budget(restarts=10**6, period_s=1)
    return LightSupervisor(children, DynamicFlags(budget=budget), ChildSpec("actor", Actor), limits=limits)


async def start_and_stop(actors: int, stop: int) -> list[Row]:
    """How fast children start, what an idle one takes, how long the end of `stop` of them takes."""
    sup = supervisor(Children(), actors)
    gc.collect()
    before = proportional_set_bytes(os.getpid())[0]
    begun = time.process_time()
    keys = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(actors)]
    for key in keys:
        sup.start_child(key)
    rate = actors / (time.process_time() - begun)
    size = (proportional_set_bytes(os.getpid())[0] - before) / actors
    assert len(sup) == actors
    await sup.stop()

    sup = supervisor(Children(), stop)
    for key in keys[:stop]:
        sup.start_child(key)
    gc.collect()
    begun = time.process_time()
    await sup.stop()
    stop_s = time.process_time() - begun
    assert len(sup.actors) == 0
    return [
        Row("start_child of a light actor, per s of CPU", rate, least=300_000),
        Row("bytes per idle supervised light actor, its key included", size, most=600),
        Row(f"stop of {stop:,} light actors, s of CPU", stop_s, most=1),
    ]


async def restarts(rounds: int) -> list[Row]:
    """From the kill of a light actor to the first line of its successor, one at a time, among 1,000."""
    rows: list[Row] = []
    for name, die in (("killed", False), ("that raised", True)):
        children = Children()
        sup = supervisor(children, 1000)
        keys = [str(n) for n in range(1000)]
        for key in keys:
            sup.start_child(key)
        took: list[float] = []
        for number in range(rounds):
            key, made = keys[number % 1000], children.made
            begun = time.perf_counter_ns()
            if die:
                sup.tell(key, "die", None)
            else:
                sup.actors.kill(key)
            while children.made == made:
                await asyncio.sleep(0)
            took.append((children.made_at_ns - begun) / 1000)
        await sup.stop()
        cuts = quantiles(took, n=100)
        rows += [
            Row(f"restart of a light actor {name}, p50 µs", cuts[49], most=60),
            Row(f"restart of a light actor {name}, p99 µs", cuts[98], most=1000),
        ]
    return rows


async def crash_at_once(count: int = 1000) -> list[Row]:
    """All crash in one turn of the loop; over when each has received its next message."""
    children = Children()
    sup = supervisor(children, count)
    keys = [str(n) for n in range(count)]
    for key in keys:
        sup.start_child(key)
    begun = time.perf_counter()
    for key in keys:
        sup.tell(key, "die", None)
        sup.tell(key, "again", None)
    while sup.actors.counters.received < 2 * count:
        await asyncio.sleep(0)
    took_ms = (time.perf_counter() - begun) * 1000
    assert children.made == 2 * count
    await sup.stop()
    return [Row(f"{count:,} light actors crash at once, all back, ms", took_ms, most=200)]


def process_restarts(kills: int) -> list[Row]:
    """From SIGKILL of a process to the answer of its successor to a call."""
    with tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory:
        settings = Settings(
            profile="test", data_dir=Path(directory), log_level="error", database_url="postgresql://nowhere/none"
        )
        use(settings)
        logging.configure(get_settings(), process="main")
        # Every kill is a line in the log of all processes: not on this screen.
        screen = os.dup(2)
        with (Path(directory) / "log").open("w") as log:
            os.dup2(log.fileno(), 2)
        child = ChildSpec(WORKER, ProcessStart("bench.supervised_worker:Worker"))
        launcher = Launcher("bench", SupervisorFlags(intensity=kills + 1, period_s=3600), [child])
        launcher.start()
        try:
            took = launcher.loop.run_until_complete(_kill(launcher, kills))
        finally:
            launcher.loop.run_until_complete(launcher.stop(10))
            os.dup2(screen, 2)
    cuts = quantiles(took, n=100)
    return [
        Row(f"restart of a killed process, p50 ms over {kills}", cuts[49]),
        Row(f"restart of a killed process, p99 ms over {kills}", cuts[98], most=150),
    ]


async def _kill(launcher: Launcher, kills: int) -> list[float]:
    async def where() -> int:
        answer = await launcher.node.call(WORKER, WhereAreYou(), timeout_s=10, retry=True)
        assert isinstance(answer, Where)
        return answer.pid

    took: list[float] = []
    pid = await where()
    for _ in range(kills):
        begun = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        successor = await where()
        took.append((time.perf_counter() - begun) * 1000)
        assert successor != pid
        pid = successor
    return took


def run(measure: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
    """On a loop as the processes have it."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:

        async def main() -> list[Row]:
            return await measure()

        return runner.run(main())


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=200_000, help="how many light actors to start (default 200000)")
    parser.add_argument("--stop", type=int, default=100_000, help="how many to stop at once (default 100000)")
    parser.add_argument("--kills", type=int, default=200, help="kills of the process (default 200)")
    parser.add_argument("--skip-processes", action="store_true", help="light actors only")
    arguments = parser.parse_args()
    # First, while this process has no threads and no loop: the tree is forked.
    processes = [] if arguments.skip_processes else process_restarts(arguments.kills)
    # As a process of the service does (see bitnexus.actors.runtime.light).
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    rows = run(lambda: restarts(5000)) + run(crash_at_once)
    rows += run(lambda: start_and_stop(max(arguments.actors, arguments.stop), arguments.stop)) + processes
    table = Table(title="Supervision")
    for column in ("what", "measured", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)
    sys.exit(0 if all(row.is_met for row in rows) else 1)


if __name__ == "__main__":
    main()
