"""What the rounds of the channels' benchmark say: medians, goals, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bench.channel_contestants import BareAiohttp, BitNexus

GOAL_LAST_MS, GOAL_BYTES, GOAL_JOINS_PER_S = 60.0, 20_000, 2_000


@dataclass(frozen=True, slots=True)
class Round:
    """What one contestant did in one round. `last_ms` are the times to the last client, event by event."""

    contestant: str
    number: int
    joins_per_s: float
    bytes_per_client: float
    last_ms: list[float]
    cpu_us_per_event: float
    others: float  # CPUs that were busy with something else
    complaints: list[str]

    def percentile_ms(self, share: float) -> float:
        """Of the times to the last client."""
        ordered = sorted(self.last_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(rounds: Sequence[Round]) -> Table:
    """The medians of the rounds."""
    shown = Table(title="One event each 100 ms to all clients of a topic (median of the rounds)")
    for column in (
        "contestant",
        "last p50 ms",
        "last p99 ms",
        "joins/s",
        "KB a client",
        "CPU ms an event",
        "CPUs lost",
    ):
        shown.add_column(column, justify="left" if column == "contestant" else "right")
    for name in dict.fromkeys(one.contestant for one in rounds):
        own = [one for one in rounds if one.contestant == name]
        shown.add_row(
            name,
            f"{statistics.median(one.percentile_ms(0.5) for one in own):.1f}",
            f"{statistics.median(one.percentile_ms(0.99) for one in own):.1f}",
            f"{statistics.median(one.joins_per_s for one in own):,.0f}",
            f"{statistics.median(one.bytes_per_client for one in own) / 1000:.1f}",
            f"{statistics.median(one.cpu_us_per_event for one in own) / 1000:.1f}",
            f"{statistics.median(one.others for one in own):.2f}",
        )
    return shown


def goals(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """What was promised of BitNexus, and what the median round did."""
    own = [one for one in rounds if one.contestant == BitNexus.name]
    found = {
        "ms to the last client at p99": (statistics.median(one.percentile_ms(0.99) for one in own), GOAL_LAST_MS),
        "bytes a client": (statistics.median(one.bytes_per_client for one in own), GOAL_BYTES),
        "joins/s": (statistics.median(one.joins_per_s for one in own), GOAL_JOINS_PER_S),
    }
    return [
        {"what": what, "median": median, "goal": goal, "met": median >= goal if what == "joins/s" else median <= goal}
        for what, (median, goal) in found.items()
    ]


def ratios(rounds: Sequence[Round]) -> dict[str, list[float]]:
    """BitNexus through the bare server, round by round."""
    numbers = dict.fromkeys(one.number for one in rounds)
    pairs = {number: {one.contestant: one for one in rounds if one.number == number} for number in numbers}
    both = [(pair[BitNexus.name], pair[BareAiohttp.name]) for pair in pairs.values() if len(pair) > 1]
    return {
        "last client, p99": [ours.percentile_ms(0.99) / bare.percentile_ms(0.99) for ours, bare in both],
        "last client, p50": [ours.percentile_ms(0.5) / bare.percentile_ms(0.5) for ours, bare in both],
        "joins/s": [ours.joins_per_s / bare.joins_per_s for ours, bare in both],
        "memory": [ours.bytes_per_client / bare.bytes_per_client for ours, bare in both],
    }
