"""Operators' commands on light actors by name: list, look, suspend, resume, kill, statistics."""

from __future__ import annotations

import itertools

import pytest

from bitnexus.actors.runtime.light import Limits
from bitnexus.actors.runtime.light_operations import LightActorInfo, listed, state_summary
from bitnexus.actors.runtime.light_statistics import LightStatistics
from bitnexus.errors import NoProcess, Overloaded, RuntimeFault
from tests.unit.light_house import House


def test_a_list_comes_in_pages_and_tells_what_each_actor_is_at() -> None:
    house = House()
    house.tell("idle", 1)
    house.tell("busy", "begin")
    house.settle()
    house.actors.suspend("asleep")
    house.tell("asleep", 1, 2)
    house.tell("waiting", 1)
    house.actors.start_timer("idle", "ring", None, delay_s=1)
    assert listed(house.actors, 0, 2) == [
        LightActorInfo("idle", "idle", 0, 0, 1),
        LightActorInfo("busy", "busy", 0, 0, 0),
    ]
    assert listed(house.actors, 2, 2) == [
        LightActorInfo("asleep", "suspended", 2, 0, 0),
        LightActorInfo("waiting", "runnable", 1, 0, 0),
    ]
    assert listed(house.actors, 4, 2) == []


def test_a_summary_is_the_actors_own_and_looking_activates_nobody() -> None:
    house = House()
    house.tell("a", 1)
    house.settle()
    assert state_summary(house.actors, "a") == {"received": 1}
    with pytest.raises(NoProcess):
        state_summary(house.actors, "nobody")
    assert len(house.actors) == 1


def test_a_summary_that_fails_is_an_error_of_the_look_and_not_of_the_actor() -> None:
    house = House()
    house.tell("a", "begin")
    house.settle()
    with pytest.raises(RuntimeFault, match="RuntimeError"):
        state_summary(house.actors, "a")
    assert "a" in house.actors
    assert house.crashes == []


def test_a_suspended_actor_queues_within_its_bound_and_receives_in_order_when_resumed() -> None:
    house = House(Limits(mailbox=3))
    house.tell("a", 0)
    house.actors.suspend("a")
    house.tell("a", 1, 2)
    with pytest.raises(Overloaded):
        house.tell("a", 3)
    house.tell("b", 1)
    house.settle()
    assert house.received == [("b", 1)]
    house.actors.resume("a")
    house.settle()
    assert house.received[1:] == [("a", 0), ("a", 1), ("a", 2)]


def test_an_idle_actor_that_is_suspended_is_not_passivated_and_is_once_it_goes_on() -> None:
    house = House(Limits(idle_s=1, tick_s=1))
    house.tell("a", 1)
    house.settle()
    house.actors.suspend("a")
    house.at(100.0)
    assert "a" in house.actors
    house.actors.resume("a")
    house.at(200.0)
    house.at(300.0)
    assert "a" not in house.actors


def test_an_actor_that_is_suspended_by_what_it_does_receives_nothing_more() -> None:
    house = House()
    house.tell("a", ("do", lambda: house.actors.suspend("a")), 1, 2)
    house.settle()
    assert len(house.received) == 1
    house.actors.resume("a")
    house.settle()
    assert house.received[1:] == [("a", 1), ("a", 2)]


def test_suspension_and_resumption_within_one_message_change_nothing() -> None:
    house = House()

    def both() -> None:
        house.actors.suspend("a")
        house.actors.resume("a")

    house.tell("a", ("do", both), 1)
    house.settle()
    house.tell("a", 2)
    house.settle()
    assert house.received[1:] == [("a", 1), ("a", 2)]


def test_a_name_is_suspended_before_its_actor_is_there_and_after_it_was_killed() -> None:
    house = House(durable=True)
    house.actors.suspend("a")
    house.tell("a", 1)
    house.settle()
    house.actors.loaded(house.loads.pop(), {})
    house.settle()
    house.actors.kill("a")
    house.settle()
    house.actors.loaded(house.loads.pop(), {})
    house.settle()
    assert house.received == []
    house.actors.resume("a")
    house.settle()
    assert house.received == [("a", 1)]


def test_so_many_names_can_be_suspended() -> None:
    house = House(Limits(suspended=1))
    house.actors.suspend("a")
    house.actors.suspend("a")
    with pytest.raises(Overloaded):
        house.actors.suspend("b")
    house.actors.resume("a")
    house.actors.suspend("b")


def test_a_killed_actor_ends_as_by_a_crash_and_a_fresh_one_takes_what_was_queued() -> None:
    house = House()
    house.tell("a", 1, 2)
    assert house.actors.kill("a")
    house.settle()
    assert [(crash.key, crash.reason, crash.message) for crash in house.crashes] == [("a", "killed", "")]
    assert house.received == [("a", 1), ("a", 2)]
    assert house.actors.counters.started == 2


def test_what_waits_for_a_killed_actor_is_undelivered_when_its_supervisor_says_so() -> None:
    house = House(restart=False)
    house.tell("a", 1, 2)
    house.actors.kill("a", "quarantined")
    house.settle()
    assert house.crashes[0].reason == "quarantined"
    assert [message for _, message, _ in house.failed] == [1, 2]
    assert "a" not in house.actors


def test_nobody_is_killed_who_is_not_there() -> None:
    house = House()
    assert not house.actors.kill("a")
    assert house.crashes == []


def test_an_actor_that_is_killed_by_what_it_does_ends_after_that_message() -> None:
    house = House()
    house.tell("a", ("do", lambda: house.actors.kill("a")), 1)
    house.settle()
    assert house.received[1:] == [("a", 1)]
    assert len(house.crashes) == 1
    assert house.failed == []
    assert house.actors.counters.started == 2


@pytest.mark.parametrize("restart", [True, False])
def test_an_actor_is_killed_while_it_is_activated(restart: bool) -> None:
    house = House(durable=True, restart=restart)
    house.tell("a", 1)
    house.settle()
    assert house.actors.kill("a")
    house.settle()
    for keys in house.loads:
        house.actors.loaded(keys, {})
    house.settle()
    assert house.received == ([("a", 1)] if restart else [])
    assert len(house.failed) == (0 if restart else 1)
    assert house.actors.activating == 0


def test_an_actor_can_be_started_without_a_message() -> None:
    house = House()
    assert house.actors.start("a")
    assert not house.actors.start("a")
    assert listed(house.actors) == [LightActorInfo("a", "idle", 0, 0, 0)]


def test_statistics_are_kept_by_actor_while_they_are_on_and_for_so_many_actors() -> None:
    house = House(Limits(actor_messages=2))
    ticks = itertools.count(step=10)
    house.actors.statistics = statistics = LightStatistics(lambda: next(ticks), most=2)
    house.tell("a", 1, 2, 3)
    house.tell("b", 1)
    house.tell("c", 1)
    house.settle()
    house.actors.statistics = None
    house.tell("b", 2)
    house.settle()
    a = statistics.by_key["a"]
    assert (a.turns, a.received, a.busy_ns, a.longest_ns, a.most_waiting) == (2, 3, 20, 10, 3)
    assert statistics.by_key["b"].received == 1
    assert statistics.others.received == 1
    assert [key for key, _ in statistics.busiest(1)] == ["a"]
