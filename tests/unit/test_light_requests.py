"""Requests between light actors: each comes back once, with the answer or an error."""

from __future__ import annotations

import asyncio

import pytest

from bitnexus.actors.runtime.light import Limits
from bitnexus.actors.runtime.light_loop import LightActorLoop
from bitnexus.errors import BitNexusError, CallTimeout, Overloaded
from tests.unit.light_house import House

Answers = list[object]


def test_a_request_comes_back_to_the_asker_with_what_the_other_actor_returned() -> None:
    house = House()
    house.tell("a", ("ask", "b", "echo hello"))
    house.settle()
    assert house.received[1:] == [("b", "echo hello"), ("a", "echo echo hello")]
    assert house.sent == []


def test_an_answer_comes_under_the_context_in_which_was_asked() -> None:
    house = House()
    house.actors.tell("a", ("ask", "b", "echo x"), "customer")
    house.settle()
    assert house.sent == [("a", "a heard echo echo x", "customer")]


def test_requests_can_be_chained() -> None:
    house = House()
    house.actors.tell("a", ("ask", "b", ("ask", "c", "echo x")), "customer")
    house.settle()
    assert house.sent == [("a", "a heard b heard echo echo x", "customer")]


def test_a_request_of_an_actor_to_itself_is_answered() -> None:
    house = House()
    house.tell("a", ("ask", "a", "echo me"))
    house.settle()
    assert house.received[-1] == ("a", "echo echo me")


def test_a_request_from_outside_is_answered_by_a_callback_once() -> None:
    house, answers = House(), Answers()
    ask = house.actors.ask("a", "echo x", answers.append)
    house.settle()
    house.actors.answer(ask, "again")
    assert answers == ["echo echo x"]


def test_the_crash_of_the_callee_is_the_answer() -> None:
    house = House()
    house.tell("a", ("ask", "b", "die"))
    house.settle()
    assert house.received[-1] == ("a", "unavailable")
    assert house.failed == []


def test_a_request_that_cannot_be_told_comes_back_as_overloaded() -> None:
    house = House(Limits(mailbox=1))
    house.actors.suspend("b")
    house.tell("b", 1)
    house.tell("a", ("ask", "b", "echo x"))
    house.settle()
    assert house.received[-1] == ("a", "overloaded")


def test_an_actor_may_have_so_many_requests_unanswered() -> None:
    house = House(Limits(actor_pending=2))
    house.actors.suspend("b")
    for n in range(3):
        house.tell("a", ("ask", "b", f"echo {n}"))
    house.settle()
    assert house.received[-1] == ("a", "overloaded")
    house.actors.resume("b")
    house.settle()
    assert [each for each in house.received if each[0] == "a"][-2:] == [("a", "echo echo 0"), ("a", "echo echo 1")]


def test_an_answer_may_come_later_and_the_callee_stays_until_then() -> None:
    house, answers = House(Limits(idle_s=1, tick_s=1)), Answers()
    ask = house.actors.ask("b", "think", answers.append)
    house.at(100.0)
    assert "b" in house.actors
    assert answers == []
    house.actors.answer(ask, "thought")
    assert answers == ["thought"]
    house.at(200.0)
    assert "b" not in house.actors


def test_an_asker_stays_until_its_answer_comes() -> None:
    house = House(Limits(idle_s=1, tick_s=1))
    house.actors.suspend("b")
    house.tell("a", ("ask", "b", "echo x"))
    house.at(100.0)
    assert "a" in house.actors
    house.actors.resume("b")
    house.at(101.0)
    assert house.received[-1] == ("a", "echo echo x")


def test_what_an_ended_actor_owed_is_answered_by_its_end() -> None:
    house = House()
    house.tell("a", ("ask", "b", "think"))
    house.settle()
    house.tell("b", "die")
    house.settle()
    assert house.received[-1] == ("a", "unavailable")


def test_an_answer_for_an_actor_that_has_ended_is_undelivered_and_not_given_to_its_successor() -> None:
    house = House()
    house.actors.suspend("b")
    house.actors.tell("a", ("ask", "b", "echo x"), "customer")
    house.settle()
    house.tell("a", "die", "hello")
    house.settle()
    house.actors.resume("b")
    house.settle()
    assert house.received[-2:] == [("a", "hello"), ("b", "echo x")]
    assert [(key, code) for key, _, code in house.failed] == [("a", "unavailable"), ("a", "unavailable")]


def test_an_answer_that_waits_when_its_asker_ends_fails_what_it_was_asked_for() -> None:
    house, answers = House(Limits(turn_messages=2)), Answers()
    house.actors.ask("a", ("ask", "b", "echo x"), answers.append)
    house.turn()
    house.actors.suspend("a")
    house.settle()
    assert answers == []
    house.actors.kill("a")
    assert [error.code for error in answers if isinstance(error, BitNexusError)] == ["unavailable"]


def test_a_request_is_over_after_its_time_and_a_late_answer_is_dropped() -> None:
    house, answers = House(), Answers()
    ask = house.actors.ask("b", "think", answers.append, timeout_s=2.0)
    house.at(1.9)
    assert answers == []
    house.at(2.0)
    assert [type(answer) for answer in answers] == [CallTimeout]
    house.actors.answer(ask, "late")
    assert len(answers) == 1
    (b,) = house.actors.page()
    assert not b.in_use


def test_a_refused_request_from_outside_raises_before_any_effect() -> None:
    house = House(Limits(mailbox=1))
    house.tell("b", 1)
    with pytest.raises(Overloaded):
        house.actors.ask("b", "echo x", Answers().append)


async def test_a_call_on_the_loop_gives_the_answer_or_raises_the_error() -> None:
    house = House()
    host: LightActorLoop = LightActorLoop(house)
    assert await host.call("a", "echo x", timeout_s=5) == "echo echo x"
    with pytest.raises(CallTimeout):
        await host.call("a", "think", timeout_s=0.01)
    with pytest.raises(BitNexusError):
        await host.call("a", "die", timeout_s=5)
    await host.stop()


async def test_timers_fire_on_the_loop_and_not_early() -> None:
    house = House()
    host: LightActorLoop = LightActorLoop(house)
    loop = asyncio.get_running_loop()
    rang: asyncio.Future[float] = loop.create_future()
    due_s = loop.time() + 0.05
    host.actors.start_timer("a", ("do", lambda: rang.set_result(loop.time())), None, delay_s=0.05)
    host.actors.start_timer("a", "never", None, delay_s=1000)
    assert await asyncio.wait_for(rang, 5) >= due_s
    await host.stop()
