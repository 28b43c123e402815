"""A trouble has an excuse only where a fault of its kind was under way; and plans are those of their seed."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from tests.chaos.excuses import Kind, Loss, Outage, Trouble, unexcused
from tests.chaos.schedule import DATABASE, DATABASE_REST_S, INTENSITIES, WEIGHTS, Schedule, Step

FRONTS = 2
FRONT = Outage("kill http-0", Loss.FRONT, 10.0, 11.0, front="http-0", safe_ports=frozenset({5000}))
OTHER = Outage("kill http-1", Loss.FRONT, 10.5, 12.0, front="http-1")
NODE = Outage("kill root", Loss.FRONT | Loss.ALL_FRONTS, 10.0, 11.0)
DATABASE_AWAY = Outage("restart postgresql", Loss.DATABASE, 10.0, 11.0)
LEDGER = Outage("kill ledger", Loss.NOTHING, 10.0, 11.0)
ALL = (FRONT, NODE, DATABASE_AWAY, LEDGER)


def is_excused(trouble: Trouble, *outages: Outage) -> bool:
    return unexcused([trouble], outages, FRONTS) == []


def trouble(kind: Kind, at: float = 10.2, opened_at: float = 9.0, port: int = 4000) -> Trouble:
    return Trouble("payer", kind, opened_at, at, "", port)


@pytest.mark.parametrize(
    ("kind", "excusing"),
    [
        (Kind.BROKEN, {"kill http-0", "kill root"}),
        (Kind.SILENT, {"kill http-0", "kill root"}),
        (Kind.DEAF, {"kill root"}),
        (Kind.UNAVAILABLE, {"restart postgresql"}),
        (Kind.TURNED_AWAY, {"kill root"}),
        (Kind.WRONG, set()),
    ],
)
def test_only_a_fault_that_takes_away_what_was_missing_is_an_excuse(kind: Kind, excusing: set[str]) -> None:
    assert {outage.fault for outage in ALL if is_excused(trouble(kind), outage)} == excusing


def test_a_trouble_before_or_after_the_fault_has_no_excuse() -> None:
    assert not is_excused(trouble(Kind.BROKEN, at=9.9), FRONT)
    assert not is_excused(trouble(Kind.BROKEN, at=11.6), FRONT)
    assert not is_excused(trouble(Kind.UNAVAILABLE, at=11.6), DATABASE_AWAY)
    assert is_excused(trouble(Kind.BROKEN, at=11.4), FRONT)


def test_a_connection_that_was_surely_to_another_front_has_no_excuse() -> None:
    assert not is_excused(trouble(Kind.BROKEN, port=5000), FRONT)
    assert is_excused(trouble(Kind.BROKEN, port=5000), NODE)


def test_a_connection_that_was_made_after_the_fault_has_no_excuse() -> None:
    assert not is_excused(trouble(Kind.SILENT, opened_at=11.6, at=27.0), FRONT)
    assert is_excused(trouble(Kind.SILENT, opened_at=9.9, at=26.0), FRONT)


def test_nobody_need_listen_only_while_every_front_is_away() -> None:
    assert not is_excused(trouble(Kind.DEAF, at=10.7), FRONT)
    assert is_excused(trouble(Kind.DEAF, at=10.7), FRONT, OTHER)
    assert not is_excused(trouble(Kind.DEAF, at=10.7), FRONT, dataclasses.replace(OTHER, front="http-0"))


def steps(seed: int, count: int = 400) -> list[tuple[float, Step]]:
    schedule, now, found = Schedule(seed), 0.0, []
    for _ in range(count):
        step = schedule.next(now)
        found.append((now, step))
        now += step.pause_s + 0.5
    return found


def test_a_seed_has_one_plan_and_another_seed_another() -> None:
    assert steps(7) == steps(7)
    assert steps(7) != steps(8)


def test_every_kind_of_fault_comes_early_and_skipped_ones_never_do() -> None:
    kinds = {step.kind for _, step in steps(7, 150)}
    assert {"fill disk", "jump clock", "poison user", "pause postgresql", "exhaust connections"} <= kinds
    schedule = Schedule(7, skipped=("fill disk", "jump clock"))
    assert not {"fill disk", "jump clock"} & {schedule.next(float(now)).kind for now in range(400)}


@pytest.mark.parametrize("who", INTENSITIES)
def test_nobody_dies_more_often_than_their_supervisor_promises_to_bear(who: str) -> None:
    most, period_s = INTENSITIES[who]
    for seed in range(20):
        deaths = [now for now, step in steps(seed) if step.counted_by == who]
        assert deaths
        for first, last in zip(deaths, deaths[most:], strict=False):
            assert last - first >= period_s


def test_the_database_gets_time_to_serve_between_two_outages() -> None:
    for seed in range(20):
        outages = [now for now, step in steps(seed) if step.kind in DATABASE]
        assert len(outages) > 1
        assert all(after - before >= DATABASE_REST_S for before, after in pairwise(outages))


def test_a_schedule_in_which_nothing_may_be_done_says_so() -> None:
    schedule = Schedule(1, skipped=set(WEIGHTS) - {"fill disk"})
    assert schedule.next(0.0).kind == "fill disk"
    with pytest.raises(ValueError, match="nothing may be done"):
        schedule.next(0.1)
