"""Light actors: order, fairness, isolation, bounds, activation, passivation; no loop, no clock."""

from __future__ import annotations

import pytest

from bitnexus.actors.runtime.light import Limits
from bitnexus.errors import DatabaseUnavailable, Overloaded
from tests.unit.light_house import House


def test_messages_to_one_actor_are_received_in_the_order_they_were_told() -> None:
    house = House(Limits(actor_messages=3))
    for n in range(10):
        house.actors.tell("a", n, None)
    house.settle()
    assert house.received == [("a", n) for n in range(10)]


def test_nothing_is_received_before_the_loop_had_the_word() -> None:
    house = House(Limits())
    house.actors.tell("a", 1, None)
    assert house.received == []
    assert len(house.soon) == 1


def test_what_receive_returns_goes_out_with_the_context_of_its_message() -> None:
    house = House(Limits())
    house.actors.tell("a", "echo", "asker")
    house.settle()
    assert house.sent == [("a", "echo echo", "asker")]


def test_a_hot_actor_gets_no_more_than_its_share_of_a_turn() -> None:
    house = House(Limits(actor_messages=4, turn_messages=100))
    for n in range(50):
        house.actors.tell("hot", n, None)
    house.actors.tell("cold", 0, None)
    house.settle()
    assert house.received.index(("cold", 0)) == 4


def test_a_turn_ends_after_its_budget_and_the_rest_waits_for_the_next_one() -> None:
    house = House(Limits(actor_messages=4, turn_messages=10))
    for key in "abcdef":
        for n in range(4):
            house.actors.tell(key, n, None)
    house.turn()
    assert len(house.received) == 10
    house.settle()
    assert len(house.received) == 24


def test_an_exception_ends_that_actor_alone_and_is_reported_with_reason_and_trace() -> None:
    house = House(Limits())
    house.actors.tell("a", "die", None)
    house.actors.tell("b", 1, None)
    house.settle()
    assert house.received == [("b", 1)]
    assert house.failed == [("a", "die", "unavailable")]
    (crash,) = house.crashes
    assert (crash.key, crash.reason, crash.message) == ("a", "ValueError: told to die", "str")
    assert "in Recorder.receive" in crash.traceback
    assert "a" not in house.actors


def test_messages_queued_behind_a_crash_go_to_a_fresh_actor_in_order() -> None:
    house = House(Limits(), durable=True)
    for message in (1, "die", 2, 3):
        house.actors.tell("a", message, None)
    house.settle()
    house.actors.loaded(house.loads.pop(), {"a": "old"})
    house.settle()
    assert house.received == [("a", 1)]
    house.actors.tell("a", 4, None)
    house.settle()
    house.actors.loaded(house.loads.pop(), {"a": "fresh"})
    house.settle()
    assert house.received == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert [message for _, message, _ in house.failed] == ["die"]


def test_messages_queued_behind_a_crash_are_failed_when_the_supervisor_says_so() -> None:
    house = House(Limits(), restart=False)
    for message in ("die", 2, 3):
        house.actors.tell("a", message, None)
    house.settle()
    assert [message for _, message, _ in house.failed] == ["die", 2, 3]
    assert "a" not in house.actors


def test_an_actor_that_cannot_be_made_fails_what_waits_for_it_and_is_reported() -> None:
    house = House(Limits())
    house.actors.tell("stillborn", 1, None)
    assert house.failed == [("stillborn", 1, "unavailable")]
    assert house.crashes[0].message == ""


def test_a_full_mailbox_refuses_except_answers_the_actor_has_asked_for() -> None:
    house = House(Limits(mailbox=2))
    house.actors.tell("a", 1, None)
    house.actors.tell("a", 2, None)
    with pytest.raises(Overloaded):
        house.actors.tell("a", 3, None)
    house.actors.tell("a", "answer", None, bounded=False)
    house.settle()
    assert [message for _, message in house.received] == [1, 2, "answer"]


def test_all_activations_of_one_loop_turn_share_a_load() -> None:
    house = House(Limits(), durable=True)
    for key in "abc":
        house.actors.tell(key, 1, None)
    assert house.loads == []
    house.settle()
    assert house.loads == [["a", "b", "c"]]


def test_loads_are_bounded_in_size_and_number() -> None:
    house = House(Limits(load_batch=2, loads=2), durable=True)
    for n in range(7):
        house.actors.tell(str(n), "m", None)
    house.settle()
    assert house.loads == [["0", "1"], ["2", "3"]]
    house.actors.loaded(house.loads[0], {})
    house.settle()
    assert house.loads[2:] == [["4", "5"]]


def test_messages_that_arrive_while_an_actor_is_activated_wait_in_order_and_are_bounded() -> None:
    house = House(Limits(mailbox=3), durable=True)
    for n in range(3):
        house.actors.tell("a", n, None)
    with pytest.raises(Overloaded):
        house.actors.tell("a", 3, None)
    house.settle()
    assert house.received == []
    house.actors.loaded(house.loads[0], {"a": "state"})
    house.settle()
    assert [message for _, message in house.received] == [0, 1, 2]


def test_a_failed_load_fails_what_waits_with_its_own_error_and_the_next_message_tries_again() -> None:
    house = House(Limits(), durable=True)
    house.actors.tell("a", 1, None)
    house.settle()
    house.actors.load_failed(house.loads.pop(), DatabaseUnavailable())
    assert house.failed == [("a", 1, "database_unavailable")]
    assert house.crashes == []
    house.actors.tell("a", 2, None)
    house.settle()
    house.actors.loaded(house.loads.pop(), {})
    house.settle()
    assert house.received == [("a", 2)]


def test_a_load_that_breaks_is_reported() -> None:
    house = House(Limits(), durable=True)
    house.actors.tell("a", 1, None)
    house.settle()
    house.actors.load_failed(house.loads.pop(), KeyError("column"))
    assert [crash.key for crash in house.crashes] == ["a"]
    assert house.failed == [("a", 1, "unavailable")]


def test_too_many_activations_at_once_are_refused() -> None:
    house = House(Limits(max_activating=2), durable=True)
    house.actors.tell("a", 1, None)
    house.actors.tell("b", 1, None)
    with pytest.raises(Overloaded):
        house.actors.tell("c", 1, None)


def test_an_actor_idle_for_long_enough_is_forgotten_and_one_used_since_is_not() -> None:
    house = House(Limits(idle_s=10, tick_s=1))
    for key in "ab":
        house.actors.tell(key, 1, None)
    house.settle()
    house.actors.sweep(6.0)
    house.actors.tell("b", 2, None)
    house.settle()
    house.actors.sweep(12.0)
    assert "a" not in house.actors
    assert "b" in house.actors
    house.actors.sweep(18.0)
    assert len(house.actors) == 0


def test_an_actor_with_work_in_flight_is_never_forgotten() -> None:
    house = House(Limits(idle_s=10, tick_s=1, max_actors=1))
    house.actors.tell("a", "begin", None)
    house.settle()
    house.actors.sweep(1000.0)
    assert "a" in house.actors
    with pytest.raises(Overloaded):
        house.actors.tell("b", 1, None)
    house.actors.tell("a", "end", None)
    house.settle()
    house.actors.sweep(2000.0)
    assert "a" not in house.actors


def test_a_full_table_forgets_the_actor_idle_longest() -> None:
    house = House(Limits(max_actors=2, tick_s=1))
    for at, key in enumerate(("a", "b", "a", "c")):
        house.actors.sweep(float(at))
        house.actors.tell(key, "m", None)
        house.settle()
    assert "b" not in house.actors
    assert "a" in house.actors
    assert "c" in house.actors


def test_a_retired_actor_is_forgotten_once_it_is_idle() -> None:
    house = House(Limits())
    house.actors.tell("a", "begin", None)
    house.settle()
    house.actors.retire("a")
    assert "a" in house.actors
    house.actors.tell("a", "end", None)
    house.settle()
    assert "a" not in house.actors


def test_a_sweep_looks_at_a_bounded_number_and_says_that_there_is_more() -> None:
    house = House(Limits(idle_s=1, tick_s=1))
    for n in range(10):
        house.actors.tell(str(n), "m", None)
    house.settle()
    assert house.actors.sweep(100.0, at_most=4)
    assert len(house.actors) == 6
    assert house.actors.sweep(100.0, at_most=4)
    assert not house.actors.sweep(100.0, at_most=4)
    assert len(house.actors) == 0


def test_an_idle_actor_receives_at_once_what_is_delivered() -> None:
    house = House(Limits())
    house.tell("a", "first")
    house.settle()
    house.actors.deliver("a", "echo second", None)
    assert house.received == [("a", "first"), ("a", "echo second")]
    assert house.sent == [("a", "echo echo second", None)]
    assert not house.soon
    assert house.actors.counters.received == 2


def test_what_is_delivered_does_not_overtake_what_waits() -> None:
    house = House(Limits())
    house.tell("a", "first", "second")
    house.actors.deliver("a", "third", None)
    assert house.received == []
    house.settle()
    assert house.received == [("a", "first"), ("a", "second"), ("a", "third")]


def test_what_an_actor_delivers_to_another_waits_for_a_turn() -> None:
    house = House(Limits())
    house.tell("a", "first")
    house.tell("b", "first")
    house.settle()
    del house.received[:]
    house.actors.deliver("a", ("do", lambda: house.actors.deliver("b", "from a", None)), None)
    assert [key for key, _ in house.received] == ["a"]
    house.settle()
    assert house.received[1:] == [("b", "from a")]


def test_an_actor_that_dies_of_what_is_delivered_is_reported_and_the_next_message_reaches_its_successor() -> None:
    house = House(Limits())
    house.tell("a", "first")
    house.settle()
    house.actors.deliver("a", "die", None)
    assert [crash.key for crash in house.crashes] == ["a"]
    assert [(key, message) for key, message, _ in house.failed] == [("a", "die")]
    house.actors.deliver("a", "again", None)
    house.settle()
    assert house.received[-1] == ("a", "again")
