"""Timers of light actors: order, never early, cancellation, bounds, and what they outlive."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from bitnexus.actors.runtime.light import Limits
from bitnexus.actors.runtime.light_timers import Timer, Timers
from bitnexus.errors import Overloaded
from tests.unit.light_house import House


def test_a_timer_tells_its_message_when_its_time_has_come_and_not_before() -> None:
    house = House()
    house.actors.start_timer("a", "ring", None, delay_s=2.0)
    house.at(1.999)
    assert house.received == []
    house.at(2.0)
    assert house.received == [("a", "ring")]


def test_timers_fire_in_the_order_of_their_times_and_those_of_one_time_in_the_order_of_their_start() -> None:
    house = House()
    for name, delay_s in (("third", 3.0), ("first", 1.0), ("second", 2.0), ("second too", 2.0)):
        house.actors.start_timer("a", name, None, delay_s=delay_s)
    house.at(10.0)
    assert [message for _, message in house.received] == ["first", "second", "second too", "third"]


def test_one_wake_up_is_asked_for_however_many_timers_there_are() -> None:
    house = House()
    for n in range(50):
        house.actors.start_timer(str(n), "ring", None, delay_s=5.0 + n)
    assert house.wakes == [5.0]
    house.actors.start_timer("early", "ring", None, delay_s=1.0)
    assert house.wakes == [5.0, 1.0]
    house.at(1.0)
    assert house.wakes == [5.0]


def test_a_cancelled_timer_does_not_fire_and_cannot_be_cancelled_twice() -> None:
    house = House()
    timer = house.actors.start_timer("a", "ring", None, delay_s=1.0)
    assert house.actors.cancel_timer(timer)
    assert not house.actors.cancel_timer(timer)
    house.at(2.0)
    assert house.received == []
    assert house.actors.timers == 0


def test_a_timer_that_has_fired_cannot_be_cancelled() -> None:
    house = House()
    timer = house.actors.start_timer("a", "ring", None, delay_s=1.0)
    house.at(1.0)
    assert not house.actors.cancel_timer(timer)


def test_a_passivated_actor_is_activated_for_its_timer() -> None:
    house = House(Limits(idle_s=1, tick_s=1))
    house.tell("a", 1)
    house.settle()
    house.actors.start_timer("a", "ring", None, delay_s=100.0)
    house.at(50.0)
    assert "a" not in house.actors
    house.at(100.0)
    assert house.received == [("a", 1), ("a", "ring")]


def test_a_timer_waits_while_the_table_is_full_of_actors_at_work() -> None:
    house = House(Limits(max_actors=1, tick_s=1))
    house.tell("busy", "begin")
    house.settle()
    house.actors.start_timer("a", "ring", None, delay_s=1.0)
    house.at(1.0)
    assert house.wakes == [2.0]
    house.tell("busy", "end")
    house.settle()
    house.at(2.0)
    assert house.received[-1] == ("a", "ring")


def test_a_timer_outlives_a_crash_after_which_its_supervisor_goes_on() -> None:
    house = House()
    house.actors.start_timer("a", "ring", None, delay_s=1.0)
    house.tell("a", "die")
    house.at(1.0)
    assert house.received == [("a", "ring")]


def test_timers_of_an_actor_that_is_not_to_go_on_are_undelivered_in_order() -> None:
    house = House(restart=False)
    house.actors.start_timer("a", "later", None, delay_s=2.0)
    house.actors.start_timer("a", "soon", None, delay_s=1.0)
    house.tell("a", "die")
    house.at(5.0)
    assert [message for _, message, _ in house.failed] == ["die", "soon", "later"]
    assert house.received == []


def test_an_actor_may_have_so_many_timers_and_a_table_so_many() -> None:
    house = House(Limits(actor_timers=2, timers=3))
    timer = house.actors.start_timer("a", 1, None, delay_s=1.0)
    house.actors.start_timer("a", 2, None, delay_s=1.0)
    with pytest.raises(Overloaded):
        house.actors.start_timer("a", 3, None, delay_s=1.0)
    house.actors.start_timer("b", 1, None, delay_s=1.0)
    with pytest.raises(Overloaded):
        house.actors.start_timer("b", 2, None, delay_s=1.0)
    house.actors.cancel_timer(timer)
    house.actors.start_timer("b", 2, None, delay_s=1.0)


def test_timers_cannot_fill_the_mailbox_of_a_suspended_actor_without_end() -> None:
    limits = Limits(mailbox=4, actor_timers=2)
    house = House(limits)
    house.actors.suspend("a")
    refused = 0
    for n in range(100):
        try:
            house.actors.start_timer("a", n, None, delay_s=0.0)
        except Overloaded:
            refused += 1
        house.at(float(n))
    assert refused
    actor = house.actors.find("a")
    assert actor is not None
    assert len(actor.mailbox or ()) <= limits.mailbox + 2 * limits.actor_timers


def test_so_many_timers_fire_in_one_turn_and_the_rest_right_after() -> None:
    house = House(Limits(turn_timers=10, actor_timers=100))
    for n in range(25):
        house.actors.start_timer("a", n, None, delay_s=1.0)
    house.now_s = 1.0
    house.actors.fire(1.0)
    assert house.actors.timers == 15
    assert house.wakes[-1] == 1.0
    house.at(1.0)
    assert [message for _, message in house.received] == list(range(25))


@given(strategies.lists(strategies.tuples(strategies.sampled_from("sca"), strategies.integers(0, 20)), max_size=60))
def test_the_heap_gives_what_a_sorted_list_of_pending_timers_gives_and_stays_small(
    steps: list[tuple[str, int]],
) -> None:
    timers, now_s = Timers(), 0.0
    model: list[Timer] = []
    started: list[Timer] = []
    for what, number in steps:
        if what == "s":
            timer = Timer("k", len(started), None, now_s + number)
            timers.start(timer)
            started.append(timer)
            model.append(timer)
        elif what == "c" and started:
            timer = started[number % len(started)]
            assert timers.cancel(timer) == (timer in model)
            model = [each for each in model if each is not timer]
        else:
            now_s += number / 4
            fired = list(timers.due(now_s, at_most=1000))
            expected = [each for each in sorted(model, key=lambda t: (t.due_s, t.message)) if each.due_s <= now_s]
            assert fired == expected
            model = [each for each in model if each not in fired]
        assert len(timers) == len(model) == timers.of("k")
        assert timers.next_due_s == min((each.due_s for each in model), default=None)
