"""What is made of the rounds: medians, and ratios within a round with their spread. Pure.

A round is one of `bench.rounds.Round.as_json`, so that the same is made of rounds just measured and of a file's.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.jobs import Entry

JsonRound = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Extent:
    """The median of some figures, and how far they are spread."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Extent:
        """Of at least one figure."""
        found = list(figures)
        return cls(statistics.median(found), min(found), max(found))


def entry_of(one: JsonRound) -> Entry:
    """Whose round it is."""
    return Entry(one["contestant"], one["workload"], one["connections"])


def rounds_of(rounds: Iterable[JsonRound], job: str, entry: Entry) -> dict[int, JsonRound]:
    """An entry's rounds of a job by their numbers, without the warm-up."""
    return {one["number"]: one for one in rounds if one["number"] and one["job"] == job and entry_of(one) == entry}


def entries(rounds: Iterable[JsonRound], job: str) -> list[Entry]:
    """The entries of a job, in the order in which they ran."""
    return list(dict.fromkeys(entry_of(one) for one in rounds if one["job"] == job and one["number"]))


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Ours through theirs, for each round that both have; a round in which theirs is 0 says nothing."""
    return [value / theirs[number] for number, value in ours.items() if theirs.get(number)]


def figures(rounds: Mapping[int, JsonRound], field: str) -> dict[int, float]:
    """A field of each round."""
    return {number: float(one[field]) for number, one in rounds.items()}


def medians_by_kind(rounds: Sequence[JsonRound]) -> dict[str, float]:
    """CPU per transfer by kind of process: the median of the rounds for each."""
    kinds = dict.fromkeys(kind for one in rounds for kind in one["cpu_us"])
    return {kind: statistics.median(one["cpu_us"].get(kind, 0.0) for one in rounds) for kind in kinds}
