"""Waiting before a restart, in the static supervisor; children that hang or grow too large."""

from __future__ import annotations

from typing import Any

import pytest

from bitnexus.actors.runtime.reasons import HUNG, MAX_RSS, NORMAL, SHUTDOWN, killed
from bitnexus.supervision import events as ev
from bitnexus.supervision.spec import Backoff, SpecError
from tests.unit.supervision.scripted import CRASH, Scripted, spec

BACKOFF = Backoff(first_s=1, factor=2, ceiling_s=10, jitter=0, reset_after_s=60)
DIED = f"({CRASH}) restart"


def crash(sup: Scripted, child_id: str = "a") -> float:
    """Crash the child and let its wait end; how long it waited."""
    sup.exited(child_id)
    (wait_s,) = sup.timers
    sup.now += wait_s
    sup.timer()
    return wait_s


def test_waits_grow_to_the_ceiling_whatever_the_number_of_failures() -> None:
    assert [BACKOFF.wait_s(failures, 0.0) for failures in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 8, 10, 10]
    assert BACKOFF.wait_s(10**9, 0.0) == 10
    assert Backoff(first_s=3, factor=1, ceiling_s=30).wait_s(10**9, 0.0) == 3
    assert Backoff(first_s=3, factor=1e300, ceiling_s=30).wait_s(10**9, 0.0) == 30


def test_jitter_takes_a_share_of_the_wait_away() -> None:
    backoff = Backoff(first_s=8, jitter=0.25)
    assert [backoff.wait_s(1, chance) for chance in (0.0, 0.5)] == [8, 7]
    assert backoff.wait_s(1, 0.999999) > 6


@pytest.mark.parametrize(
    "fields",
    [
        {"first_s": 0}, {"ceiling_s": 0.01}, {"factor": 0.5}, {"factor": float("inf")}, {"jitter": 1.5},
        {"jitter": -0.1}, {"jitter": float("nan")}, {"reset_after_s": 0}, {"first_s": "soon"},
    ],
    ids=str,
)  # fmt: skip
def test_a_backoff_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Backoff(**fields)


def test_a_child_with_backoff_waits_before_each_restart_and_shows_as_restarting() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF), "b").up()
    assert sup.exited("a") == [f"report child_terminated a {DIED}"]
    assert sup.timers == [1]
    assert sup.states == {"a": "restarting", "b": "b#2"}
    assert sup.timer() == ["start a"]


def test_an_attempt_takes_its_unit_when_the_wait_is_over() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF), intensity=1).up()
    sup.exited("a")
    assert sup.machine.restarts_used(sup.now) == 0
    sup.timer()
    assert sup.machine.restarts_used(sup.now) == 1


def test_waits_grow_with_failed_starts_too_and_end_with_a_long_enough_success() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF), intensity=100).up()
    assert crash(sup) == 1
    sup.failed("a")
    assert sup.timers == [2]
    sup.timer()
    sup.started("a")
    sup.now += 59
    assert crash(sup) == 4
    sup.started("a")
    sup.now += 60
    assert crash(sup) == 1


@pytest.mark.parametrize("call", ["terminate_child", "delete_child"])
def test_an_operator_ends_the_wait_by_terminating_and_is_refused_to_delete(call: str) -> None:
    sup = Scripted(spec("a", backoff=BACKOFF)).up()
    sup.exited("a")
    (token,) = (effect.token for effect in sup.effects if isinstance(effect, ev.SetTimer))
    if call == "delete_child":
        assert sup.delete_child("a") == ["answer op: restarting None"]
    assert sup.terminate_child("a") == ["answer op: ok None"]
    assert ev.CancelTimer(token) in sup.effects
    assert sup.delete_child("a") == ["answer op: ok None"]
    assert sup.send(ev.TimerFired(token)) == []


def test_a_child_that_an_operator_stopped_begins_anew() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF), intensity=100).up()
    assert crash(sup) == 1
    sup.started("a")
    assert crash(sup) == 2
    sup.terminate_child("a")
    sup.failed("a")
    sup.restart_child("a")
    sup.started("a")
    assert crash(sup) == 1


def test_under_one_for_all_the_siblings_go_on_until_the_wait_is_over() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF), "b", strategy="one_for_all").up()
    assert sup.exited("a") == [f"report child_terminated a {DIED}"]
    assert sup.states == {"a": "restarting", "b": "b#2"}
    assert sup.timer() == ["shutdown b#2"]
    assert sup.exited("b", SHUTDOWN) == ["start a"]


def test_a_sweep_of_the_siblings_ends_the_wait() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF), "b", strategy="one_for_all").up()
    sup.exited("a")
    assert sup.exited("b") == [f"report child_terminated b {DIED}", "start a"]
    assert sup.timers_cancelled == 1


def test_shutdown_ends_the_wait() -> None:
    sup = Scripted(spec("a", backoff=BACKOFF)).up()
    sup.exited("a")
    assert sup.shutdown() == ["exit (shutdown)"]


# -- hung and too large ----------------------------------------------------------------------------------------------


def test_a_hung_child_is_killed_at_once_and_restarted_with_that_reason() -> None:
    sup = Scripted("a", "b").up()
    assert sup.send(ev.ChildHung("a", "a#1")) == ["report replaced a (hung) kill", "kill a#1"]
    assert sup.timers == []
    assert sup.exited("a", killed(9)) == ["report child_terminated a (hung) restart", "start a"]
    assert sup.machine.history.of("a")[0].reason == HUNG


def test_a_hung_child_restarts_as_its_type_says() -> None:
    sup = Scripted(spec("a", restart="transient"), spec("b", restart="temporary")).up()
    sup.send(ev.ChildHung("a", "a#1"))
    sup.send(ev.ChildHung("b", "b#2"))
    assert sup.exited("a", killed(9))[-1] == "start a"
    assert "start b" not in sup.exited("b", killed(9))
    assert "b" not in sup.states


def test_a_child_that_grew_too_large_gets_its_time_to_stop_and_is_killed_afterwards() -> None:
    sup = Scripted("a").up()
    assert sup.send(ev.ChildTooLarge("a", "a#1")) == ["report replaced a (max_rss) shutdown", "shutdown a#1"]
    assert sup.timers == [5.0]
    assert sup.timer() == ["kill a#1"]
    assert sup.exited("a", killed(9)) == ["report child_terminated a (max_rss) restart", "start a"]
    assert sup.machine.history.of("a")[0].reason == MAX_RSS


def test_a_child_that_hangs_while_it_stops_is_killed_before_its_time_is_over() -> None:
    sup = Scripted("a").up()
    sup.shutdown()
    assert sup.send(ev.ChildHung("a", "a#1")) == ["kill a#1"]
    assert sup.timers_cancelled == 1
    assert sup.send(ev.ChildHung("a", "a#1")) == []
    assert sup.exited("a", killed(9))[-1] == "exit (shutdown)"


def test_an_operator_who_terminates_a_child_that_is_being_replaced_is_obeyed() -> None:
    sup = Scripted("a").up()
    sup.send(ev.ChildTooLarge("a", "a#1"))
    assert sup.terminate_child("a") == []
    assert sup.exited("a", SHUTDOWN) == ["answer op: ok None"]
    assert sup.states == {"a": None}


def test_a_sweep_takes_over_a_child_that_is_being_replaced() -> None:
    sup = Scripted("a", "b", strategy="one_for_all").up()
    sup.send(ev.ChildTooLarge("b", "b#2"))
    assert sup.exited("a") == [f"report child_terminated a {DIED}"]
    assert sup.exited("b", SHUTDOWN) == ["start a"]
    assert sup.machine.restarts_used(sup.now) == 1


def test_news_of_a_child_that_is_gone_is_reported_and_dropped() -> None:
    sup = Scripted("a").up()
    assert sup.send(ev.ChildHung("a", "another")) == ["report unexpected a (None) ChildHung"]
    assert sup.send(ev.ChildTooLarge("z", "z#1")) == ["report unexpected z (None) ChildTooLarge"]


# -- history ---------------------------------------------------------------------------------------------------------


def test_the_history_tells_when_and_why_and_after_how_long_a_child_ended() -> None:
    sup = Scripted(spec("a", restart="transient"), intensity=100).up()
    sup.now += 7
    sup.exited("a")
    sup.failed("a", killed(6))
    sup.timer()
    sup.started("a")
    sup.now += 1
    sup.exited("a", NORMAL)
    ends = sup.machine.history.of("a")
    assert [(end.at_s, end.reason, end.uptime_s) for end in ends] == [
        (1007.0, CRASH, 7.0), (1007.0, killed(6), None), (1008.0, NORMAL, 1.0),
    ]  # fmt: skip
    counters = sup.machine.history.counters("a")
    assert (counters.exits, counters.crashes, counters.failed_starts, counters.restarts) == (2, 1, 1, 1)
