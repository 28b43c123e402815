"""What came of a run: the numbers, as JSON, and in words for who reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.excuses import Kind, Outage, Trouble
from tests.chaos.history import Violation

MOST_SHOWN: Final = 20


@dataclass(slots=True)
class Report:
    """`failed`, `violations` and `complaints` are to be empty. Times in seconds, throughput in answers a second."""

    seed: int
    seconds: float
    requests: int = 0
    refused_unavailable: int = 0
    failed: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    skipped: Mapping[str, str] = field(default_factory=dict)
    excused: Counter[str] = field(default_factory=Counter)
    back_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    checked: Mapping[str, int] = field(default_factory=dict)
    longest_gap_s: float = 0.0
    slowest_s: float = 0.0
    throughput: float = 0.0
    throughput_without_faults: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.failed or self.violations or self.complaints)

    def as_json(self) -> dict[str, Any]:
        """The numbers. What was verified at the end, and a node that did not recover, are violations."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "requests": self.requests,
            "failed": len(self.failed),
            "violations": len(self.violations) + len(self.complaints),
            "faults": dict(sorted(self.faults.items())),
            "longest_gap_s": round(self.longest_gap_s, 3),
            "throughput": round(self.throughput, 1),
            "throughput_without_faults": round(self.throughput_without_faults, 1),
        }

    def lines(self) -> list[str]:
        """In words."""
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s, {sum(self.faults.values())} faults",
            f"{self.requests} requests, {len(self.failed)} failed",
            f"{self.refused_unavailable} refused_unavailable: 503 with Retry-After, asked again until it was answered",
            f"longest time without any answer {self.longest_gap_s:.2f} s, slowest answer {self.slowest_s:.2f} s",
            f"{self.throughput:.0f} answers/s, {self.throughput_without_faults:.0f} without faults",
            "checked: " + ", ".join(f"{count} {what}" for what, count in self.checked.items()),
            "excused: " + (", ".join(f"{count} {what}" for what, count in self.excused.items()) or "nothing"),
            "",
            f"{'fault':<24} {'times':>6} {'median s':>9} {'longest s':>10}",
        ]
        for kind, count in sorted(self.faults.items()):
            took = sorted(self.back_s.get(kind, [0.0]))
            lines.append(f"{kind:<24} {count:>6} {took[len(took) // 2]:>9.2f} {took[-1]:>10.2f}")
        lines += [f"{kind:<24} skipped: {why}" for kind, why in sorted(self.skipped.items())]
        if self.passed_over:
            gone = ", ".join(f"{count} {kind}" for kind, count in self.passed_over.items())
            lines.append(f"not done, for what they were for was not there just then: {gone}")
        lines += self._shown("VIOLATION", [f"{each.rule}: {each.words}" for each in self.violations])
        lines += self._shown("NOT RECOVERED", self.complaints)
        lines += self._shown("FAILED", self.failed)
        return lines

    @staticmethod
    def _shown(title: str, found: Sequence[str]) -> list[str]:
        more = [f"{title} and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
        return [f"{title} {each[:1500]}" for each in found[:MOST_SHOWN]] + more


def in_words(trouble: Trouble, outages: Sequence[Outage]) -> str:
    """A trouble of a client's, and what was out at that time, which does not excuse it."""
    meanwhile = ", ".join(f"{each.fault} since {each.began_at:.3f}" for each in outages) or "no outage"
    return f"{trouble.client}: {trouble.kind.value} at {trouble.at:.3f}: {trouble.words} ({meanwhile})"


def by_kind(troubles: Sequence[Trouble]) -> Counter[str]:
    """How many of each kind."""
    names = {Kind.BROKEN: "broken connections", Kind.DEAF: "refused connections", Kind.SILENT: "silent ones"}
    return Counter(names.get(trouble.kind, trouble.kind.value) for trouble in troubles)
