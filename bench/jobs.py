"""The jobs: who is loaded with what, over how many connections, how often and for how long.

Their times are chosen so that all of them end within 20 minutes on a quiet machine (see `planned_seconds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.lineup import (
    AIOHTTP,
    AIOHTTP_FUNCTION,
    AIOHTTP_INDEXED,
    AIOHTTP_UNRESET,
    FASTAPI,
    OURS,
    pgbench_name,
)

CONNECTIONS: Final = 64
SWEEP: Final = (1, 16, 64, 256, 1024)
_SWEEP_CLIENTS: Final = (1, 16, 64)
_STATEMENTS: Final = pgbench_name("statements", 64)
_FUNCTION: Final = pgbench_name("function", 64)
#: So many connections wait a second for their first answers where a thousand transfers a second are made or less.
_CONNECTIONS_PER_S: Final = 256
#: Besides the load itself: the generator's start, and the questions to /proc and to the database.
_AROUND_S: Final = 0.7


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant in a job."""

    contestant: str
    workload: str
    connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True)
class Job:
    """Entries that are measured in turn, round by round."""

    name: str
    title: str
    entries: Sequence[Entry]
    rounds: int = 5
    seconds: int = 4
    warm_up_s: int = 2

    @property
    def planned_seconds(self) -> float:
        """How long it takes, without the contestants' start."""
        parts = [self.warm_up_s] if self.warm_up_s else []
        return sum(
            _AROUND_S + seconds_of(entry, seconds)
            for entry in self.entries
            for seconds in (*parts, *(self.rounds * [self.seconds]))
        )


def jobs(connections: Sequence[int] | None = None) -> dict[str, Job]:
    """All of them by name; `connections` takes the place of theirs where they are over HTTP.

    Batches keep theirs: there are never more than a front lets be under way.
    """
    at = connections or (CONNECTIONS,)
    found = (
        Job(
            "transfers",
            "One transfer per request",
            [
                *_over(at, "transfer", OURS, AIOHTTP, AIOHTTP_FUNCTION, AIOHTTP_UNRESET, FASTAPI),
                *(_sql("transfer", form, clients) for form in ("statements", "function") for clients in (16, 64)),
            ],
            seconds=5,
        ),
        Job(
            "hot",
            "A hot account: half of all transfers touch it",
            [
                *_over(at, "hot", OURS, AIOHTTP, AIOHTTP_FUNCTION),
                *(_sql("hot", form, 64) for form in ("statements", "function")),
            ],
        ),
        Job(
            "batches",
            "Batches, in transfers",
            [Entry(OURS, "batch of 100", 32), Entry(OURS, "batch of 1,000", 8), Entry(_STATEMENTS, "transfer")],
            seconds=6,
        ),
        Job(
            "reads",
            "Reads",
            [*_over(at, "show", OURS, AIOHTTP_INDEXED), *_over(at, "history", OURS, AIOHTTP_INDEXED)],
            seconds=3,
        ),
        Job("mixed", "Four reads to each transfer", _over(at, "mixed", OURS, AIOHTTP_INDEXED), seconds=3),
        Job(
            "sweep",
            "One transfer per request, against connections",
            [
                *_over(connections or SWEEP, "transfer", OURS, AIOHTTP, AIOHTTP_FUNCTION, FASTAPI),
                *(_sql("transfer", "statements", clients) for clients in _SWEEP_CLIENTS),
            ],
            rounds=2,
            seconds=3,
            warm_up_s=1,
        ),
    )
    return {job.name: job for job in found}


def seconds_of(entry: Entry, seconds: int) -> int:
    """How long an entry is loaded: longer with many connections, the first answers of which come late."""
    return seconds + entry.connections // _CONNECTIONS_PER_S


def _over(connections: Sequence[int], workload: str, *contestants: str) -> list[Entry]:
    return [Entry(contestant, workload, each) for each in connections for contestant in contestants]


def _sql(workload: str, form: str, clients: int) -> Entry:
    return Entry(pgbench_name(form, clients), workload, clients)


def adjusted(job: Job, *, rounds: int | None, seconds: int | None, warm_up_s: int | None = None) -> Job:
    """The job with other numbers, where they are given."""
    return replace(
        job,
        rounds=job.rounds if rounds is None else rounds,
        seconds=job.seconds if seconds is None else seconds,
        warm_up_s=job.warm_up_s if warm_up_s is None else warm_up_s,
    )
