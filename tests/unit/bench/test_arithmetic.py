"""Ratios within rounds, goals, and whether a database holds what was answered."""

from __future__ import annotations

import pytest

from bench import growth, scaling
from bench.arithmetic import Extent, entries, medians_by_kind, ratios, rounds_of
from bench.generators import Load
from bench.goals import GOALS, TRANSFER, Goal, judge
from bench.jobs import Entry, adjusted, jobs
from bench.rounds import miscounted
from bench.sizing import LOADS, Cost, costs
from bench.workloads import WORKLOADS

OURS = Entry("ours", "transfer")
THEIRS = Entry("theirs", "transfer")


def round_(entry, number, rate, *, job="job", p50_ms=1.0, p99_ms=2.0, cpu_us=None):
    return {
        "job": job,
        "contestant": entry.contestant,
        "workload": entry.workload,
        "connections": entry.connections,
        "number": number,
        "rate": rate,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "others": 0.0,
        "cpu_us": cpu_us or {},
        "complaints": [],
    }


def seen(requests, *, keyed=None, errors=0):
    errors_by_kind = {"connect": 0, "read": 0, "write": 0, "status": errors, "timeout": 0}
    return Load(requests, requests if keyed is None else keyed, 1.0, 1.0, 1.0, 1.0, 1.0, errors_by_kind)


def test_an_extent_is_the_median_and_both_ends():
    assert Extent.of([3.0, 1.0, 2.0, 10.0]) == Extent(2.5, 1.0, 10.0)
    assert Extent.of([7.0]) == Extent(7.0, 7.0, 7.0)


def test_ratios_are_taken_within_a_round_and_not_between_medians():
    # The machine is twice as fast in the second round, for both.
    assert ratios({1: 100.0, 2: 200.0}, {1: 50.0, 2: 100.0}) == [2.0, 2.0]


def test_a_round_that_only_one_has_or_in_which_the_peer_did_nothing_gives_no_ratio():
    assert ratios({1: 100.0, 2: 200.0, 3: 300.0}, {2: 100.0, 3: 0.0}) == [2.0]


def test_the_warm_up_and_other_jobs_are_not_among_an_entrys_rounds():
    rounds = [round_(OURS, 0, 1.0), round_(OURS, 1, 2.0), round_(OURS, 1, 9.0, job="other"), round_(THEIRS, 1, 3.0)]
    assert {number: one["rate"] for number, one in rounds_of(rounds, "job", OURS).items()} == {1: 2.0}
    assert entries(rounds, "job") == [OURS, THEIRS]


def test_cpu_is_the_median_of_the_rounds_for_each_kind_of_process():
    rounds = [round_(OURS, n, 1.0, cpu_us={"front": us, "ledger": 5.0}) for n, us in ((1, 10.0), (2, 90.0), (3, 20.0))]
    assert medians_by_kind(rounds) == {"front": 20.0, "ledger": 5.0}


def test_a_goal_is_judged_by_the_median_of_its_ratios():
    rounds = [round_(OURS, n, rate) for n, rate in ((1, 100.0), (2, 210.0), (3, 900.0))]
    rounds += [round_(THEIRS, n, 100.0) for n in (1, 2, 3)]
    (judged,) = judge(rounds, [Goal("job", "a title", OURS, THEIRS, 2.0)])
    assert (judged["median"], judged["min"], judged["max"]) == (2.1, 1.0, 9.0)
    assert (judged["job"], judged["against"], judged["goal"], judged["met"]) == ("a title", "theirs", 2.0, True)
    (judged,) = judge(rounds, [Goal("job", "a title", OURS, THEIRS, 2.2)])
    assert judged["met"] is False


def test_a_goal_for_latency_compares_our_p99_with_the_peers_p50_and_must_stay_below():
    rounds = [round_(OURS, 1, 1.0, p99_ms=30.0), round_(THEIRS, 1, 1.0, p50_ms=40.0, p99_ms=500.0)]
    goal = Goal("job", "a title", OURS, THEIRS, 1.0, measure="p99 by p50", at_most=True)
    (judged,) = judge(rounds, [goal])
    assert (judged["median"], judged["met"]) == (0.75, True)
    rounds[0]["p99_ms"] = 44.0
    (judged,) = judge(rounds, [goal])
    assert judged["met"] is False


def test_a_goal_that_was_not_measured_is_not_judged():
    assert judge([round_(OURS, 1, 100.0)], [Goal("job", "a title", OURS, THEIRS, 2.0)]) == []


@pytest.mark.parametrize(("job", "entry"), LOADS.values())
def test_what_sizes_are_computed_from_is_measured_by_a_job(job, entry):
    assert entry in jobs()[job].entries


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.title} {goal.theirs.contestant}")
def test_every_goal_is_measured_by_a_job_as_it_is_by_default(goal):
    found = jobs()[goal.job].entries
    assert goal.ours in found
    assert goal.theirs in found


def test_all_jobs_end_within_twenty_minutes():
    by_rounds = sum(job.planned_seconds for job in jobs().values())
    restarts = scaling.job().rounds * len(scaling.COMBINATIONS) * scaling.RESTART_S
    starts_s, memory_s = 60, growth.LOG_STEPS * 4 + 60
    assert by_rounds + scaling.job().planned_seconds + restarts + starts_s + memory_s < 20 * 60


def test_other_connections_take_the_place_of_the_default_over_http_alone():
    found = jobs([4, 8])["transfers"].entries
    assert {one.connections for one in found if not one.contestant.startswith("pgbench")} == {4, 8}
    assert {one.connections for one in found if one.contestant.startswith("pgbench")} == {16, 64}


def test_a_job_can_be_made_shorter_and_keeps_the_rest():
    job = jobs()["transfers"]
    short = adjusted(job, rounds=1, seconds=None, warm_up_s=0)
    assert (short.rounds, short.seconds, short.warm_up_s, short.entries) == (1, job.seconds, 0, job.entries)


@pytest.mark.parametrize(
    ("answered", "recorded", "wrong"),
    [
        (seen(100), 100, False),
        (seen(100), 164, False),  # the last answers of 64 connections came too late to be counted
        (seen(100), 165, True),
        (seen(100), 99, True),  # an answered transfer is lost
        (seen(100, errors=1), 99, False),
    ],
)
def test_the_database_must_hold_what_was_answered(answered, recorded, wrong):
    assert (miscounted(answered, WORKLOADS["transfer"], 64, recorded) is not None) == wrong


@pytest.mark.parametrize(("recorded", "wrong"), [(5_000, False), (13_000, False), (4_999, True), (13_001, True)])
def test_a_batch_counts_as_all_of_its_transfers(recorded, wrong):
    assert (miscounted(seen(5), WORKLOADS["batch of 1,000"], 8, recorded) is not None) == wrong


@pytest.mark.parametrize(("recorded", "wrong"), [(20, False), (15, False), (14, True), (21, True)])
def test_of_mixed_requests_those_with_a_key_count(recorded, wrong):
    assert (miscounted(seen(100, keyed=20), WORKLOADS["mixed"], 4, recorded) is not None) == wrong


def test_reads_must_record_nothing():
    assert miscounted(seen(100, keyed=0), WORKLOADS["show"], 4, 0) is None
    assert miscounted(seen(100, keyed=0), WORKLOADS["show"], 4, 1) is not None


def test_cores_follow_from_the_cpu_of_a_transfer_and_the_ledger_has_one():
    cost = Cost({"front": 100.0, "partition": 40.0, "ledger": 35.0, "postgresql": 25.0})
    assert cost.total == 200.0
    assert cost.ceiling == pytest.approx(20_000)
    assert cost.cores(1_000) == 1
    assert cost.cores(7_000) == 2
    assert cost.cores(7_001) == 3
    assert (cost.processes("front", 14_000), cost.processes("partition", 14_000)) == (2, 1)


def test_costs_are_those_of_the_loads_that_were_measured():
    rounds = [round_(TRANSFER, number, 1.0, job="transfers", cpu_us={"ledger": 50.0}) for number in (1, 2)]
    assert costs(rounds) == {"one by one": Cost({"ledger": 50.0})}


def test_memory_for_each_further_one_is_what_grew_from_the_first_point_to_the_last():
    points = [
        {"users": 10, "bytes_by_kind": {"front": 1_000, "ledger": 500}},
        {"users": 20, "bytes_by_kind": {"front": 9_000, "ledger": 900}},
        {"users": 110, "bytes_by_kind": {"front": 2_000, "ledger": 1_500}},
    ]
    assert growth.slope(points, "users") == 20.0
    assert growth.slope(points[:1], "users") == 0.0
