"""A few numbers of the whole node out of its processes' metrics: gauges added up, counters as rates. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SAMPLE: Final = re.compile(r"(?P<name>bitnexus_[a-z_]+)(?:\{(?P<labels>[^\n]*)\})? (?P<value>[^ \n]+)")
_SUMS: Final = {
    "bitnexus_http_sockets": "sockets",
    "bitnexus_http_poll_sessions": "poll_sessions",
    "bitnexus_users_active": "users_active",
    "bitnexus_ledger_waiting_commands": "waiting_commands",
    "bitnexus_mailbox_messages": "mailbox",
    "bitnexus_calls_in_flight": "calls_in_flight",
}
_RATES: Final = {
    "bitnexus_ledger_events_total": "ledger_events_per_s",
    "bitnexus_ledger_blocks_total": "blocks_per_s",
    "bitnexus_http_requests_total": "requests_per_s",
}
_ERRORS: Final = "errors_per_s"
_LAG: Final = "bitnexus_loop_lag_seconds"


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read at one moment: counters by process and what they count, gauges by what they show."""

    at_s: float
    counters: Mapping[tuple[str, str], float]
    gauges: Mapping[str, float]
    processes: int


def read(texts: Mapping[str, str], at_s: float) -> Sample:
    """A sample out of the expositions of processes, by their name."""
    counters: dict[tuple[str, str], float] = {}
    gauges = dict.fromkeys((*_SUMS.values(), "loop_lag_ms"), 0.0)
    for process, text in texts.items():
        for line in text.splitlines():
            found = _SAMPLE.fullmatch(line)
            if found is None:
                continue
            name, value = found["name"], float(found["value"])
            if name in _SUMS:
                gauges[_SUMS[name]] += value
            elif name == _LAG:
                gauges["loop_lag_ms"] = max(gauges["loop_lag_ms"], value * 1000)
            elif name in _RATES:
                what = [_RATES[name]]
                if 'status="5' in (found["labels"] or ""):
                    what.append(_ERRORS)
                for each in what:
                    counters[process, each] = counters.get((process, each), 0.0) + value
    return Sample(at_s, counters, gauges, len(texts))


def vital_signs(before: Sample, now: Sample) -> dict[str, float]:
    """What is told: rates since the sample before, gauges of now."""
    elapsed_s = max(now.at_s - before.at_s, 1e-3)
    rates = dict.fromkeys((*_RATES.values(), _ERRORS), 0.0)
    for key, value in now.counters.items():
        # A process that was not there before, or has begun anew, has counted from nothing.
        past = before.counters.get(key, 0.0)
        rates[key[1]] += value - past if value >= past else value
    shown = {name: round(value / elapsed_s, 1) for name, value in rates.items()}
    return shown | {name: round(value, 3) for name, value in now.gauges.items()} | {"processes": now.processes}
