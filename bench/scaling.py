"""Throughput against the number of fronts and partitions: one service, started anew with each setting in each round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.contestants import BitNexus
from bench.jobs import Entry, Job
from bench.lineup import OURS
from bench.rounds import Rounds
from bench.servers import Server
from bench.workloads import Shape
from bitnexus.config import Settings

NAME: Final = "scaling"
#: Fronts and partitions.
COMBINATIONS: Final = ((1, 1), (2, 1), (2, 2), (4, 2))
#: What a stop in order and a start take, besides the rounds themselves.
RESTART_S: Final = 4.0


def job(rounds: int = 3, seconds: int = 3, warm_up_s: int = 1) -> Job:
    """What is measured; its entries are named by `entry_name`."""
    entries = [Entry(entry_name(*combination), "transfer") for combination in COMBINATIONS]
    return Job(NAME, "One transfer per request, against fronts and partitions", entries, rounds, seconds, warm_up_s)


def entry_name(fronts: int, partitions: int) -> str:
    """How a combination is called in the results."""
    return f"{OURS}, fronts: {fronts}, partitions: {partitions}"


def combination_of(name: str) -> tuple[int, int]:
    """What `entry_name` was made of."""
    fronts, partitions = (int(part.rpartition(" ")[2]) for part in name.split(", ")[1:])
    return fronts, partitions


async def measure(
    directory: Path, server: Server, shape: Shape, rounds: Rounds, *, scaling: Job, progress: Callable[[str], object]
) -> list[dict[str, Any]]:
    """The rounds, each with its restart and its own warm-up."""
    service = BitNexus(directory / NAME, server, shape, database="bitnexus_scaling")
    done: list[dict[str, Any]] = []
    try:
        progress(f"{NAME}: starting …")
        await service.start()
        for number in range(1, scaling.rounds + 1):
            for entry, combination in zip(scaling.entries, COMBINATIONS, strict=True):
                progress(f"{entry.contestant}: round {number} …")
                await service.restart(_environment(combination))
                parts = ((0, scaling.warm_up_s), (number, scaling.seconds))
                found = [
                    await rounds.measure_once(NAME, entry, service, number=at, seconds=seconds)
                    for at, seconds in parts
                    if seconds
                ]
                done += [one.as_json() for one in found if one.number or one.complaints]
    finally:
        service.stop()
    return done


def _environment(combination: Sequence[int]) -> dict[str, str]:
    fields = (Settings.model_fields["fronts"], Settings.model_fields["partitions"])
    return {str(field.validation_alias): str(value) for field, value in zip(fields, combination, strict=True)}
