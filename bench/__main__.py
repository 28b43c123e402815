"""BitNexus beside its peers, in one run: durable transfers, batches, reads, a hot account; what it costs; how it grows.

    python -m bench [PART …] [--rounds 5] [--seconds 4] [--connections 64] [--quick]

Parts: transfers, hot, batches, reads, mixed, sweep, scaling, memory; all of them by default, within 20 minutes on a
quiet machine. Everything is started here: PostgreSQL (a clean embedded one with fsync, or that of DATABASE_URL), the
service, the peers, and the load, which comes from wrk where it is installed. Results: tables here, and in
bench/results latest.json and plots. `python -m bench.report` shows the last run again.

Exit code: 0, or 1 when a client saw an error or a database does not hold what was answered. A goal that was missed is
told, and is no error.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench import growth, plots, report, scaling
from bench import results as files
from bench.generators import generator
from bench.jobs import Job, adjusted, jobs
from bench.lineup import Lineup
from bench.rounds import Rounds
from bench.servers import Server, described, shared_server
from bench.workloads import Shape

PARTS: Final = (*jobs(), scaling.NAME, growth.NAME)
QUICK: Final = Shape(users=4, accounts_each=5, transfers=200)
#: Of each step by which the log grows.
_LOG_S: Final = 4
_QUICK_LOG_S: Final = 1
_QUICK_SCALE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; None takes a job's own."""

    parts: Sequence[str]
    rounds: int | None
    seconds: int | None
    connections: Sequence[int] | None
    quick: bool
    to: Path = field(default=files.LATEST)

    def jobs(self) -> list[Job]:
        """The jobs with rounds, scaling among them."""
        known = {**jobs(self.connections), scaling.NAME: scaling.job()}
        rounds, seconds = self.rounds, self.seconds
        warm_up_s = None
        if self.quick:
            rounds, seconds, warm_up_s = rounds or 1, seconds or 1, 0
        chosen = [known[part] for part in self.parts if part in known]
        return [adjusted(job, rounds=rounds, seconds=seconds, warm_up_s=warm_up_s) for job in chosen]


class Run:
    """One run on a server; what was found is kept after each part."""

    def __init__(self, options: Options, directory: Path, server: Server, console: Console) -> None:
        self._options, self._directory, self._server, self._console = options, directory, server, console
        self._shape = QUICK if options.quick else Shape()
        self._started_at = time.monotonic()
        self._rounds: list[dict[str, Any]] = []
        self._about: dict[str, Any] = {}
        self.found: dict[str, Any] = {}

    async def measure(self) -> None:
        """Measure the chosen parts."""
        jobs_, lineup = self._options.jobs(), Lineup(self._directory, self._server, self._shape)
        await lineup.check({entry.contestant for job in jobs_ for entry in job.entries})
        self._about = files.about(await described(self._server))
        with self._console.status("starting …") as status:
            rounds = Rounds(lineup, self._server, status.update)
            try:
                for job in jobs_:
                    if job.name != scaling.NAME:
                        self._keep(job.name, [one.as_json() for one in await rounds.measure(job)])
            finally:
                lineup.stop()
            for job in jobs_:
                if job.name == scaling.NAME:
                    self._keep(job.name, await self._scale(job, rounds, status.update))
            if growth.NAME in self._options.parts:
                self._keep(growth.NAME, [], memory=await self._grow(status.update))

    async def _scale(self, job: Job, rounds: Rounds, progress: Callable[[str], object]) -> list[dict[str, Any]]:
        return await scaling.measure(self._directory, self._server, self._shape, rounds, scaling=job, progress=progress)

    async def _grow(self, progress: Callable[[str], object]) -> dict[str, Any]:
        seconds, scale = (_QUICK_LOG_S, _QUICK_SCALE) if self._options.quick else (_LOG_S, 1.0)
        seconds = self._options.seconds or seconds
        return await growth.measure(
            self._directory, self._server, self._shape, seconds=seconds, scale=scale, progress=progress
        )

    def _keep(self, part: str, rounds: Sequence[dict[str, Any]], **more: Any) -> None:  # noqa: ANN401 - a part's own
        self._rounds += rounds
        self.found = files.results(
            self._about, self._shape, self._options.jobs(), self._rounds, started_at=self._started_at
        )
        self.found |= more
        for one in more.values():
            self.found["complaints"] += [f"{part}: {what}" for what in one["complaints"]]
        files.write(self.found, self._options.to)
        self._console.print(f"{part}: done, {time.monotonic() - self._started_at:.0f} s after the start")


def parsed(arguments: Sequence[str] | None = None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=", ".join(PARTS))
    parser.add_argument("--rounds", type=_positive, help="of each job, in the place of its own number")
    parser.add_argument("--seconds", type=_positive, help="of each entry's part of a round")
    parser.add_argument(
        "--connections",
        type=lambda text: [_positive(part) for part in text.split(",")],
        help="over HTTP, as in 16,64; goals are judged at those of the table",
    )
    parser.add_argument("--quick", action="store_true", help="a few accounts, one round of a second: does it run?")
    parser.add_argument("--to", type=Path, default=files.LATEST, help="the file of results; plots go beside it")
    given = parser.parse_args(arguments)
    return Options(given.parts or PARTS, given.rounds, given.seconds, given.connections, given.quick, given.to)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main() -> int:
    """Measure, show, keep."""
    options = parsed()
    console = Console()
    if not console.is_terminal:
        console.width = 140
    planned = sum(job.planned_seconds for job in options.jobs())
    console.print(f"The load comes from {generator()}. The rounds take {planned / 60:.0f} min.")
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory,
        shared_server(Path(directory, "postgresql")) as server,
    ):
        run = Run(options, Path(directory), server, console)
        asyncio.run(run.measure())
    found = run.found
    report.show(found, console)
    for plot in plots.draw(found, options.to.parent):
        console.print(f"Plot: {plot}")
    for complaint in found["complaints"]:
        console.print(complaint, style="bold red")
    return 1 if found["complaints"] else 0


if __name__ == "__main__":
    sys.exit(main())
