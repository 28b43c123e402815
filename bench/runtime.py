"""The actor runtime beside its peers, in one run, in interleaved rounds.

    python -m bench.runtime [--quick] [--only processes|light]

Processes: BitNexus' node (`Node.call` and `cast`), Thespian's own interface on BitNexus' system base, and the same on
Thespian's multiprocTCPBase. Light actors: BitNexus' and pykka's, which are threads: of those there are a thousand.
The stock base listens on all interfaces and unpickles whatever arrives, so everybody runs in a network namespace with
nothing but loopback in it; where the kernel gives none it runs as it is, for the seconds of the measurement.

The same code varies by half between minutes on a shared machine: only ratios within a round say something. Results go
to bench/results/runtime.json as well. Exit code: 0, or 1 when a goal was missed or a program failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from bench import isolation
from bench.runtime_goals import (
    LIGHT,
    LIGHT_MEASURES,
    MEASURES,
    NODE,
    PYKKA,
    STOCK,
    THESPIAN,
    Round,
    goals_table,
    table,
    verdicts,
)
from bitnexus import __version__

RESULTS = Path(__file__).with_name("results") / "runtime.json"
_PEERS = "bench.runtime_peers"
_TIMEOUT_S = 300.0
_WIDTH = 150
#: A thread each: that many are enough to know what one costs.
_PYKKA_ACTORS = 1_000


@dataclass(frozen=True, slots=True)
class Program:
    """What measures one contestant."""

    contestant: str
    module: str
    arguments: tuple[object, ...]
    networked: bool = True


def programs(arguments: argparse.Namespace) -> list[Program]:
    """Those that were asked for, in the order of a round."""
    seconds, processes = arguments.seconds, arguments.processes
    of_processes = [
        Program(NODE, f"{_PEERS}.node", (seconds, processes)),
        Program(STOCK, f"{_PEERS}.thespian_base", ("stock", seconds, processes)),
        Program(THESPIAN, f"{_PEERS}.thespian_base", ("ours", seconds, processes)),
    ]
    of_light_actors = [
        Program(LIGHT, f"{_PEERS}.light", (arguments.actors, arguments.messages), networked=False),
        Program(PYKKA, f"{_PEERS}.pykka_actors", (_PYKKA_ACTORS, arguments.messages // 20), networked=False),
    ]
    return [
        *(of_processes if arguments.only != "light" else ()),
        *(of_light_actors if arguments.only != "processes" else ()),
    ]


def measure(chosen: list[Program], rounds: int, console: Console) -> tuple[list[Round], bool]:
    """Run all programs, round after round: the results, and whether every program came to its end."""
    prefix = isolation.own_network()
    if not prefix:
        console.print("[yellow]No network namespace to be had: the ports of the stock base are open while it runs.")
    measured: list[Round] = []
    succeeded = True
    for number in range(1, rounds + 1):
        results: dict[str, dict[str, float]] = {}
        for program in chosen:
            with console.status(f"round {number} of {rounds}: {program.contestant} …"):
                try:
                    results[program.contestant] = isolation.run(
                        program.module,
                        program.arguments,
                        timeout_s=_TIMEOUT_S,
                        prefix=prefix if program.networked else (),
                    )
                except isolation.ProgramFailed as failure:
                    succeeded = False
                    console.print(f"[red]{program.contestant} failed:[/red]")
                    console.print(str(failure), markup=False, highlight=False)
        measured.append(results)
    return measured, succeeded


def main() -> None:
    """Measure, print, write, judge."""
    arguments = _parse()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    began = time.time()
    rounds, succeeded = measure(programs(arguments), arguments.rounds, console)
    title = f"Processes ({arguments.processes} for “many”), {arguments.rounds} rounds"
    judged = verdicts(rounds)
    if arguments.only != "light":
        console.print(table(title, MEASURES, (NODE, THESPIAN, STOCK), rounds))
    if arguments.only != "processes":
        title = f"{arguments.actors:,} light actors (pykka: {_PYKKA_ACTORS:,}), rates per second of one core"
        console.print(table(title, LIGHT_MEASURES, (LIGHT, PYKKA), rounds))
    console.print(goals_table(judged))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "version": __version__,
                "python": platform.python_version(),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
                "arguments": vars(arguments),
                "rounds": rounds,
                "goals": [asdict(verdict) for verdict in judged],
            },
            indent=2,
        )
        + "\n"
    )
    console.print(f"Written to {RESULTS.relative_to(isolation.ROOT)}, {time.time() - began:.0f} s.")
    sys.exit(0 if succeeded and all(verdict.met for verdict in judged) else 1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round with few processes and light actors")
    parser.add_argument("--only", choices=("processes", "light"), help="measure these alone")
    parser.add_argument("--rounds", type=int, help="rounds (default 3)")
    parser.add_argument("--seconds", type=float, help="of each measurement that takes a time (default 2)")
    parser.add_argument("--processes", type=int, help="how many are started at once (default 200)")
    parser.add_argument("--actors", type=int, help="light actors (default 1000000)")
    parser.add_argument("--messages", type=int, help="messages to light actors (default 1000000)")
    arguments = parser.parse_args()
    quick = {"rounds": 1, "seconds": 0.5, "processes": 20, "actors": 100_000, "messages": 200_000}
    full = {"rounds": 3, "seconds": 2.0, "processes": 200, "actors": 1_000_000, "messages": 1_000_000}
    for name, value in (quick if arguments.quick else full).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


if __name__ == "__main__":
    main()
