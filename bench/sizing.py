"""How large a deployment must be: arithmetic on the CPU times that a run has measured. Pure.

What grows with the load runs in any number of processes, but for the ledger: it is one process, which cannot have more
than one core. So a kind of load has a ceiling, and a number of cores for what is below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.arithmetic import medians_by_kind, rounds_of
from bench.goals import BATCHED_100, BATCHED_1000, TRANSFER
from bench.jobs import Entry

#: A core that is busier than this makes others wait for it.
MAY_BE_BUSY: Final = 0.7
_US: Final = 1_000_000
LOADS: Final[Mapping[str, tuple[str, Entry]]] = {
    "one by one": ("transfers", TRANSFER),
    "in batches of 100": ("batches", BATCHED_100),
    "in batches of 1,000": ("batches", BATCHED_1000),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of a transfer in µs, by kind of process."""

    by_kind: Mapping[str, float]

    @property
    def total(self) -> float:
        """Of all processes, PostgreSQL among them."""
        return sum(self.by_kind.values())

    def cores(self, per_second: float) -> int:
        """Cores that so many transfers a second need, with none busier than `MAY_BE_BUSY`."""
        return math.ceil(per_second * self.total / _US / MAY_BE_BUSY)

    def processes(self, kind: str, per_second: float) -> int:
        """As `cores`, for one kind of process, which needs one at least."""
        return max(1, math.ceil(per_second * self.by_kind.get(kind, 0.0) / _US / MAY_BE_BUSY))

    @property
    def ceiling(self) -> float:
        """Transfers a second at which the ledger's one core is as busy as it may be."""
        return _US * MAY_BE_BUSY / self.by_kind["ledger"]


def costs(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Cost]:
    """By kind of load, those that were measured."""
    found = {name: list(rounds_of(rounds, job, entry).values()) for name, (job, entry) in LOADS.items()}
    return {name: Cost(medians_by_kind(these)) for name, these in found.items() if these}
