"""A job's rounds: each entry in turn, again and again, with what the clients, /proc and the databases say of it.

The same code varies by half between minutes on a shared machine, so that only the ratio within a round says something.
After each part of a round the database must hold as many new transfers as were answered, and its balances must add up.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.contestants import Contestant
from bench.cpu import family_seconds, generator_seconds, machine_seconds, snapshot
from bench.generators import Load
from bench.jobs import Entry, Job, seconds_of
from bench.lineup import Lineup
from bench.servers import Server
from bench.workloads import WORKLOADS, Workload


@dataclass(frozen=True, slots=True)
class Round:
    """An entry's part of one round; number 0 is the warm-up.

    `rate` is transfers a second, or requests where they read; `cpu_us` is for each of those, by kind of process.
    `others` is how many CPUs were busy with something else: other programs, and the other contestants at rest.
    """

    job: str
    entry: Entry
    number: int
    rate: float
    load: Load
    cpu_us: dict[str, float]
    others: float
    complaints: list[str]

    def as_json(self) -> dict[str, Any]:
        """Flat: the entry's and the load's fields stand beside the others."""
        found = asdict(self)
        return {**found.pop("entry"), **found.pop("load"), **found}


class Rounds:
    """Measures jobs with a lineup; tells `progress` what it is about to do."""

    def __init__(self, lineup: Lineup, server: Server, progress: Callable[[str], object]) -> None:
        self._lineup, self._server, self._progress = lineup, server, progress
        self._run = secrets.token_hex(4)
        self._parts = 0

    async def measure(self, job: Job) -> list[Round]:
        """All rounds; the warm-ups only if something was wrong with them."""
        done = []
        for number in range(0 if job.warm_up_s else 1, job.rounds + 1):
            for entry in job.entries:
                self._progress(f"{job.name}: {entry.contestant}, {entry.workload}, {entry.connections} connections …")
                contestant = await self._lineup.get(entry.contestant)
                seconds = seconds_of(entry, job.seconds if number else job.warm_up_s)
                found = await self.measure_once(job.name, entry, contestant, number=number, seconds=seconds)
                if number or found.complaints:
                    done.append(found)
        return done

    async def measure_once(self, job: str, entry: Entry, contestant: Contestant, *, number: int, seconds: int) -> Round:
        """One part of one round."""
        workload = WORKLOADS[entry.workload]
        self._parts += 1
        recorded = await contestant.recorded()
        before, known, busy = self._cpu(contestant), generator_seconds(), machine_seconds()
        seen = await contestant.load(
            workload, f"{self._run}-{self._parts}", connections=entry.connections, seconds=seconds
        )
        after, known, busy = self._cpu(contestant), generator_seconds() - known, machine_seconds() - busy
        spent = {kind: after[kind] - before.get(kind, 0.0) for kind in after}
        counted = seen.requests * max(1, workload.transfers)
        complaints = [f"{count} {kind} errors" for kind, count in seen.errors.items() if count]
        if not seen.requests:
            complaints.append("nothing was answered")
        recorded = await contestant.recorded() - recorded
        if (complaint := miscounted(seen, workload, entry.connections, recorded)) is not None:
            complaints.append(complaint)
        if surplus := await contestant.surplus():
            complaints.append(f"the balances do not add up: {surplus} too much")
        return Round(
            job=job,
            entry=entry,
            number=number,
            rate=counted / seen.seconds,
            load=seen,
            # What was in work when the load ended was paid for as well.
            cpu_us=per_one(spent, recorded if workload.writes else counted),
            others=max(0.0, busy - known - sum(spent.values())) / seen.seconds,
            complaints=complaints,
        )

    def _cpu(self, contestant: Contestant) -> dict[str, float]:
        found = snapshot(contestant.kinds())
        if self._server.pid is not None:
            found["postgresql"] = family_seconds(self._server.pid)
        return found


def per_one(spent: Mapping[str, float], count: int) -> dict[str, float]:
    """Seconds for so many, as µs for each; nothing for none."""
    return {kind: seconds / count * 1e6 for kind, seconds in spent.items()} if count else {}


def miscounted(seen: Load, workload: Workload, connections: int, recorded: int) -> str | None:
    """What is wrong with the number of transfers that the database has now in addition, or None.

    Requests whose answer came after the end of the load are done, but were not counted. Where some requests read, it is
    known only how many others were sent: one of them by wrk to nobody, at its start.
    """
    if workload.writes:
        low = (seen.requests - seen.failures) * workload.transfers
        high = (seen.requests + connections) * workload.transfers
    else:
        low = (seen.keyed - seen.failures - connections - 1) * workload.transfers
        high = seen.keyed * workload.transfers
    if low <= recorded <= high:
        return None
    return f"{seen.requests} answers, {seen.keyed} with a key sent, but {recorded} transfers in the database"
