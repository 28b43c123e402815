"""CPU time and memory of processes, from /proc."""

from __future__ import annotations

import contextlib
import resource
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import psutil


def seconds_of(pid: int) -> float:
    """The time that all threads of a process have run so far; 0 for one that is gone.

    From the scheduler: the times in /proc/PID/stat are samples of a clock, which work in short bursts escapes.
    """
    try:
        threads = [(thread / "schedstat").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(thread.split()[0]) for thread in threads) / 1e9


def family_seconds(pid: int) -> float:
    """The time of a process and of all below it, those among them that have ended (once their parent has noticed).

    A session of PostgreSQL is a process that ends with it: `snapshot` of those that live would lose its time.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return sum(map(seconds_of, descendants(pid))) + float(times.children_user + times.children_system)
    return 0.0


def snapshot(kinds: Mapping[int, str]) -> dict[str, float]:
    """Seconds by kind, for the processes with these ids."""
    seconds: dict[str, float] = defaultdict(float)
    for pid, kind in kinds.items():
        seconds[kind] += seconds_of(pid)
    return dict(seconds)


def machine_seconds() -> float:
    """The time that all CPUs of the machine have been busy so far, with anything."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def generator_seconds() -> float:
    """The time of this process and of its children that have ended: the load generators."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    return []


def kind_of(name: str) -> str:
    """What a process of the tree is, for the tables: ``http-1`` is a front."""
    if name.startswith("http-"):
        return "front"
    if name.startswith("transactions-"):
        return "partition"
    return name if name in {"ledger", "notifier", "postgresql"} else "supervision"


def proportional_set_bytes(pid: int) -> tuple[int, int]:
    """Of a process: its share of all memory it uses (Pss), and what it uses alone (private)."""
    pss = private = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            pss = int(rest.split()[0]) * 1024
        elif name in {"Private_Clean", "Private_Dirty"}:
            private += int(rest.split()[0]) * 1024
    return pss, private
