"""What is to be reached: how many times the peers', as the median of the ratios within the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from bench.arithmetic import Extent, JsonRound, figures, ratios, rounds_of
from bench.jobs import CONNECTIONS, Entry
from bench.lineup import AIOHTTP, AIOHTTP_FUNCTION, AIOHTTP_INDEXED, FASTAPI, OURS, pgbench_name

#: What is compared: ours, and what with.
Measure = Literal["rate", "p99 by p50"]
_FIELDS: Final[dict[Measure, tuple[str, str]]] = {"rate": ("rate", "rate"), "p99 by p50": ("p99_ms", "p50_ms")}


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to reach; with `at_most` one to stay below. `title` says what is done."""

    job: str
    title: str
    ours: Entry
    theirs: Entry
    bound: float
    measure: Measure = "rate"
    at_most: bool = False

    def ratios(self, rounds: Sequence[JsonRound]) -> list[float]:
        """One for each round."""
        our_field, their_field = _FIELDS[self.measure]
        ours = figures(rounds_of(rounds, self.job, self.ours), our_field)
        return ratios(ours, figures(rounds_of(rounds, self.job, self.theirs), their_field))

    def judged(self, rounds: Sequence[JsonRound]) -> dict[str, Any] | None:
        """What has become of it, for the file of results; None if it was not measured."""
        if not (found := self.ratios(rounds)):
            return None
        extent = Extent.of(found)
        met = extent.median <= self.bound if self.at_most else extent.median >= self.bound
        return {
            "job": self.title,
            "against": self.theirs.contestant,
            "goal": self.bound,
            "sense": "at most" if self.at_most else "at least",
            "measure": self.measure,
            **asdict(extent),
            "met": met,
        }


def _sql(workload: str) -> Entry:
    return Entry(pgbench_name("statements", 64), workload, 64)


TRANSFER: Final = Entry(OURS, "transfer")
BATCHED_100: Final = Entry(OURS, "batch of 100", 32)
BATCHED_1000: Final = Entry(OURS, "batch of 1,000", 8)
_ONE: Final = f"one transfer per request, {CONNECTIONS} connections"
GOALS: Final = (
    Goal("transfers", _ONE, TRANSFER, _sql("transfer"), 2.0),
    Goal("transfers", _ONE, TRANSFER, Entry(AIOHTTP, "transfer"), 5.0),
    Goal("transfers", _ONE, TRANSFER, Entry(AIOHTTP_FUNCTION, "transfer"), 2.5),
    Goal("transfers", _ONE, TRANSFER, Entry(FASTAPI, "transfer"), 6.0),
    Goal("hot", f"hot account, {CONNECTIONS} connections", Entry(OURS, "hot"), _sql("hot"), 4.0),
    Goal("batches", "batches of 1,000", BATCHED_1000, _sql("transfer"), 10.0),
    *(
        Goal(
            "transfers",
            f"p99 at {CONNECTIONS} connections by the peer's p50",
            TRANSFER,
            Entry(peer, "transfer"),
            1.0,
            measure="p99 by p50",
            at_most=True,
        )
        for peer in (AIOHTTP, AIOHTTP_FUNCTION, FASTAPI)
    ),
    Goal("reads", f"reads by id, {CONNECTIONS} connections", Entry(OURS, "show"), Entry(AIOHTTP_INDEXED, "show"), 1.5),
)


def judge(rounds: Sequence[JsonRound], goals: Sequence[Goal] = GOALS) -> list[dict[str, Any]]:
    """All goals that were measured."""
    return [judged for goal in goals if (judged := goal.judged(rounds)) is not None]
