"""What bench.runtime measures, how good it must be, and the tables of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

#: Of one round: results by measure, by contestant.
Round = Mapping[str, Mapping[str, float]]

STOCK, THESPIAN, NODE = "Thespian, its own TCP base", "Thespian on BitNexus", "BitNexus node"
LIGHT, PYKKA = "BitNexus light actors", "pykka"


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of measurement for every contestant that has it."""

    key: str
    title: str
    digits: int = 0
    less_is_better: bool = False


MEASURES = (
    Measure("ask_ms", "request–reply from outside, p50 ms", 3, less_is_better=True),
    Measure("round_trip_ms", "request–reply between two processes, p50 ms", 3, less_is_better=True),
    Measure("one_way", "one way, messages/s"),
    Measure("both_directions", "both directions at once, 16 calls in flight each, round trips/s"),
    Measure("both_directions_256", "the same with 256 in flight each"),
    Measure("batch_items", "a message of 500 items and its answer, one at a time, items/s"),
    Measure("start_ms", "start of a process, ms", 1, less_is_better=True),
    Measure("start_many_s", "many processes started, s", 2, less_is_better=True),
    Measure("stop_many_s", "they are stopped, s", 2, less_is_better=True),
)
LIGHT_MEASURES = (
    Measure("bytes", "bytes of an idle actor", less_is_better=True),
    Measure("starts", "starts/s"),
    Measure("spread_all", "messages/s, to all of them in random order"),
    Measure("spread_1000", "messages/s, to 1,000 of them"),
    Measure("hot", "messages/s, to 10 of them"),
    Measure("requests", "request–replies/s between 1,000 and 1,000"),
    Measure("stop_s", "stop of 100,000, s", 2, less_is_better=True),
)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a measure of a contestant, or, with `times_stock`, on how many times better than stock it is."""

    contestant: str
    key: str
    bound: float
    times_stock: bool = False


GOALS = (
    Goal(NODE, "round_trip_ms", 4, times_stock=True),
    Goal(THESPIAN, "ask_ms", 4, times_stock=True),
    Goal(THESPIAN, "round_trip_ms", 4, times_stock=True),
    Goal(NODE, "both_directions", 20, times_stock=True),
    Goal(LIGHT, "bytes", 600),
    Goal(LIGHT, "starts", 300_000),
    Goal(LIGHT, "spread_all", 1_000_000),
    Goal(LIGHT, "spread_1000", 1_000_000),
    Goal(LIGHT, "hot", 1_000_000),
    Goal(LIGHT, "requests", 500_000),
    Goal(LIGHT, "stop_s", 1),
)

_BY_KEY = {measure.key: measure for measure in (*MEASURES, *LIGHT_MEASURES)}


def values(rounds: Sequence[Round], contestant: str, key: str) -> list[float]:
    """One number of each round that has it."""
    return [results[contestant][key] for results in rounds if key in results.get(contestant, {})]


def ratios(rounds: Sequence[Round], contestant: str, key: str) -> list[float]:
    """How many times better than stock, within each round."""
    of_rounds = [
        results[contestant][key] / results[STOCK][key]
        for results in rounds
        if key in results.get(contestant, {}) and key in results.get(STOCK, {})
    ]
    return [1 / ratio for ratio in of_rounds] if _BY_KEY[key].less_is_better else of_rounds


def table(title: str, measures: Sequence[Measure], contestants: Sequence[str], rounds: Sequence[Round]) -> Table:
    """Every measure of every contestant."""
    made = Table("measured", "by", title=title)
    for column in ("median", "min", "max", "× stock"):
        made.add_column(column, justify="right")
    for measure in measures:
        for contestant in contestants:
            found = values(rounds, contestant, measure.key)
            if not found:
                continue
            numbers = [_number(pick(found), measure.digits) for pick in (statistics.median, min, max)]
            compared = ratios(rounds, contestant, measure.key) if contestant != STOCK else []
            made.add_row(measure.title, contestant, *numbers, f"{statistics.median(compared):.1f}" if compared else "")
        made.add_section()
    return made


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what came of it; `met` by the median."""

    goal: Goal
    median: float
    least: float
    most: float
    met: bool


def verdicts(rounds: Sequence[Round]) -> list[Verdict]:
    """For each goal of which something was measured."""
    judged = []
    for goal in GOALS:
        find = ratios if goal.times_stock else values
        found = find(rounds, goal.contestant, goal.key)
        if found:
            median = statistics.median(found)
            at_most = _BY_KEY[goal.key].less_is_better and not goal.times_stock
            met = median <= goal.bound if at_most else median >= goal.bound
            judged.append(Verdict(goal, median, min(found), max(found), met))
    return judged


def goals_table(judged: Sequence[Verdict]) -> Table:
    """Goal, median, min, max, met."""
    made = Table("goal", "by", title="Goals")
    for column in ("bound", "median", "min", "max", "met"):
        made.add_column(column, justify="right")
    for verdict in judged:
        goal, measure = verdict.goal, _BY_KEY[verdict.goal.key]
        digits = 1 if goal.times_stock else measure.digits
        sign = "≤" if measure.less_is_better and not goal.times_stock else "≥"
        bound = f"{sign} {_number(goal.bound, 0)}{' × stock' if goal.times_stock else ''}"
        numbers = [_number(each, digits) for each in (verdict.median, verdict.least, verdict.most)]
        made.add_row(measure.title, goal.contestant, bound, *numbers, "[green]yes" if verdict.met else "[red]no")
    return made


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"
