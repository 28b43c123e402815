"""Which fault comes next, when, and to whom: a plan out of a seed. Pure; the time is passed in.

The same seed makes the same plan, not the same run. What the service itself promises only within an intensity (the
heart gives a node up that dies four times in a minute, a supervisor itself after ten restarts in ten seconds) is not
asked of it more often.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

#: Processes that a fault can be done to, as `targets` names them; partitions and fronts stand for any of theirs.
WORKERS: Final = ("ledger", "partition", "partition", "front", "front", "notifier", "operations", "webhooks")
SUPERVISORS: Final = ("transactions", "http")
#: Their death is that of the whole node; but Thespian's logger is only replaced.
ROOTS: Final = ("root", "admin", "heart", "logger")

#: Who counts the deaths of whom.
COUNTED_BY: Final = {
    **dict.fromkeys(("root", "admin", "heart"), "heart"),
    **dict.fromkeys(("ledger", "notifier", "operations", "webhooks", *SUPERVISORS), "root"),
    "partition": "transactions",
    "front": "http",
}
#: So many deaths in so many seconds, at most; the service itself takes some more.
INTENSITIES: Final = {"heart": (2, 65.0), "root": (6, 12.0), "transactions": (6, 12.0), "http": (6, 12.0)}
#: Between the end of one outage of the database and the next one, at least.
DATABASE_REST_S: Final = 12.0
SHORT_STOPS_S: Final = (0.2, 0.6, 1.2, 2.0)
LONGEST_PAUSE_S: Final = 0.6
_MOST_TRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. `seconds`: for how long, where that can be chosen; `pause_s`: before the next one."""

    verb: str
    target: str = ""
    seconds: float = 0.0
    number: int = 0
    pause_s: float = 0.0

    @property
    def kind(self) -> str:
        """By what faults are counted."""
        return f"{self.verb} {self.target}".strip()

    @property
    def counted_by(self) -> str | None:
        """Who has a death to count, if it is one."""
        return COUNTED_BY.get(self.target) if self.verb in {"kill", "hang"} else None


#: How often each kind is chosen, relative to the others.
WEIGHTS: Final = {
    "kill worker": 40,
    "kill supervisor": 6,
    "kill root": 3,
    "stop": 14,
    "hang": 5,
    "block": 6,
    "restart postgresql": 2,
    "crash postgresql": 2,
    "pause postgresql": 1,
    "exhaust connections": 2,
    "fill disk": 1,
    "poison user": 5,
    "change partitions": 4,
    "jump clock": 4,
    "restart subtree": 4,
    "drain front": 2,
}
KILLED: Final = {"kill worker": WORKERS, "kill supervisor": SUPERVISORS, "kill root": ROOTS}
DATABASE: Final = frozenset(
    {"restart postgresql", "crash postgresql", "pause postgresql", "exhaust connections", "fill disk"}
)
SUBTREES: Final = ("ledger", "transactions", "notifier", "http", "operations", "webhooks", "partition")


class Schedule:
    """The faults of a run; `skipped` kinds of :data:`WEIGHTS` cannot be done here."""

    def __init__(self, seed: int, skipped: Collection[str] = ()) -> None:
        self._random = random.Random(seed)
        self._weights = {kind: weight for kind, weight in WEIGHTS.items() if kind not in skipped}
        self._deaths = {who: deque[float](maxlen=most) for who, (most, _) in INTENSITIES.items()}
        self._database_free_at = 0.0
        # Each kind, and each process's death, comes once before chance decides: a short run has as many as it can.
        first = [(kind, "") for kind in self._weights if not kind.startswith("kill")]
        for kind, targets in KILLED.items():
            first += [(kind, target) for target in dict.fromkeys(targets) if kind in self._weights]
        self._first = self._random.sample(first, len(first))

    def next(self, now: float) -> Step:
        """The next fault; to be begun now."""
        for place in reversed(range(len(self._first))):
            step = self._step(*self._first[place])
            if self._may(step, now):
                del self._first[place]
                return self._taken(step, now)
        for _ in range(_MOST_TRIES):
            step = self._step(self._chosen())
            if self._may(step, now):
                return self._taken(step, now)
        raise ValueError(f"nothing may be done at {now}")

    def _may(self, step: Step, now: float) -> bool:
        if step.counted_by is not None:
            most, period_s = INTENSITIES[step.counted_by]
            deaths = self._deaths[step.counted_by]
            return len(deaths) < most or now - deaths[0] >= period_s
        return step.kind not in DATABASE or now >= self._database_free_at

    def _taken(self, step: Step, now: float) -> Step:
        if step.counted_by is not None:
            self._deaths[step.counted_by].append(now)
        elif step.kind in DATABASE:
            self._database_free_at = now + step.seconds + DATABASE_REST_S
        return step

    def _chosen(self) -> str:
        kinds, weights = list(self._weights), list(self._weights.values())
        return self._random.choices(kinds, weights)[0]

    def _step(self, kind: str, given: str = "") -> Step:
        chance = self._random
        verb, _, target = kind.partition(" ")
        seconds, number = 0.0, chance.randrange(1 << 16)
        if verb == "kill":
            target = given or chance.choice(KILLED[kind])
        elif verb == "stop":
            target = chance.choice((*WORKERS, *SUPERVISORS, *ROOTS))
            seconds = chance.choice(SHORT_STOPS_S)
        elif verb == "hang":
            target = chance.choice((*WORKERS, *SUPERVISORS, "root"))
        elif verb == "block":
            target = chance.choice((*WORKERS, *SUPERVISORS))
            seconds = 1.5
        elif kind == "restart postgresql":
            seconds = chance.uniform(0.2, 3.0)
        elif kind == "pause postgresql":
            seconds = 5.0
        elif kind in {"exhaust connections", "fill disk"}:
            seconds = chance.uniform(1.5, 4.0)
        elif kind == "jump clock":
            seconds = chance.choice((-1800.0, -5.0, 3.0, 60.0, 3600.0))
        elif verb == "restart":
            target = chance.choice(SUBTREES)
        return Step(verb, target, seconds, number, chance.uniform(0.0, LONGEST_PAUSE_S))
