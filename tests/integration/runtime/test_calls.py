"""What two processes can say to each other, and what the caller hears when it goes wrong."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from bitnexus.actors.runtime import process
from bitnexus.errors import (
    BitNexusError,
    CallTimeout,
    NoProcess,
    NotFound,
    Overloaded,
    ProcessDown,
    UnknownMessage,
)
from tests.tree.actors import Do, Hold, Large, Nobody, Ping, Pong, Relay, Write
from tests.tree.running import lines, running, worker


def test_a_call_is_answered_by_the_process_of_that_name(journal):
    with running(worker("a", journal), worker("b", journal)) as tree:
        assert tree.node.names() == ["a", "b", "root"]
        assert tree.call("a", Ping(7)) == Pong(7, tree.pid("a"))
        assert tree.call("b", Ping(8)) == Pong(8, tree.pid("b"))
        assert tree.pid("a") != tree.pid("b") != os.getpid()


def test_many_calls_at_once_are_each_answered_with_their_own_answer(journal):
    async def many() -> list[int]:
        answers = await asyncio.gather(*[tree.node.call("a", Ping(number)) for number in range(5000)])
        return [answer.number for answer in answers if isinstance(answer, Pong)]

    with running(worker("a", journal)) as tree:
        assert tree.run(many()) == list(range(5000))


def test_casts_arrive_in_order_before_a_later_call(journal):
    with running(worker("a", journal)) as tree:
        for number in range(100):
            tree.node.cast("a", Write(str(number)))
        tree.call("a", Ping())
        assert lines(journal) == ["init a", *map(str, range(100))]


def test_a_subclass_may_override_a_handler(journal):
    with running(worker("a", journal, kind="Stubborn")) as tree:
        assert tree.call("a", Ping(7)) == Pong(-7, tree.pid("a"))


def test_an_error_of_the_family_comes_back_as_itself(journal):
    with running(worker("a", journal)) as tree:
        with pytest.raises(NotFound, match="there is no such thing"):
            tree.call("a", Do("refuse"))
        tree.ping("a")


def test_a_message_that_the_process_does_not_take_is_refused_alone(journal):
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        with pytest.raises(UnknownMessage, match="a does not take Nobody"):
            tree.call("a", Nobody())
        assert tree.ping("a").pid == pid


def test_nobody_of_that_name_is_no_process_at_once(journal):
    with running(worker("a", journal)) as tree, pytest.raises(NoProcess):
        tree.call("b", Ping(), timeout_s=60)


def test_a_call_to_nobody_that_may_be_repeated_waits_for_them_until_its_deadline(journal):
    with running(worker("a", journal)) as tree, pytest.raises(CallTimeout):
        tree.call("b", Ping(), timeout_s=0.3, retry=True)


def test_a_call_without_an_answer_times_out_and_a_late_answer_is_dropped(journal):
    with running(worker("a", journal)) as tree:
        with pytest.raises(CallTimeout):
            tree.call("a", Hold(), timeout_s=0.1)
        assert tree.node.in_flight == 0
        tree.ping("a")


def test_the_death_of_the_called_process_ends_the_call_at_once(journal):
    async def call_and_kill() -> None:
        call = asyncio.ensure_future(tree.node.call("a", Hold(), timeout_s=60))
        await tree.node.call("a", Ping())
        os.kill(pid, signal.SIGKILL)
        await call

    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        with pytest.raises(ProcessDown):
            tree.run(call_and_kill(), 1)


def test_a_call_that_is_given_up_leaves_nothing_behind(journal):
    async def give_up() -> None:
        call = asyncio.ensure_future(tree.node.call("a", Hold(), timeout_s=60))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call})

    with running(worker("a", journal)) as tree:
        tree.run(give_up())
        assert tree.node.in_flight == 0


def test_an_answer_that_is_too_large_is_an_error_and_not_the_end_of_the_connection(journal):
    with running(worker("a", journal)) as tree:
        pid = tree.pid("a")
        with pytest.raises(BitNexusError, match="too large"):
            tree.call("a", Large(5_000_000))
        answer = tree.call("a", Large(3_000_000))
        assert isinstance(answer, Write)
        assert len(answer.text) == 3_000_000
        assert tree.pid("a") == pid


def test_a_question_that_is_too_large_is_refused_before_any_effect(journal):
    with running(worker("a", journal)) as tree:
        with pytest.raises(Overloaded):
            tree.call("a", Write("x" * 5_000_000))
        assert lines(journal) == ["init a"]


def test_a_full_mailbox_refuses_and_the_answers_make_room(journal, monkeypatch):
    monkeypatch.setattr(process, "MAX_MAILBOX", 3)

    async def fill() -> None:
        held = [asyncio.ensure_future(tree.node.call("b", Relay("a"), timeout_s=60)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="mailbox of b"):
            await tree.node.call("b", Ping())
        with pytest.raises(Overloaded, match="mailbox of a"):
            await until_refused("a")
        for call in held:
            call.cancel()
        await asyncio.wait(held)

    async def until_refused(name: str) -> None:
        while True:
            await tree.node.call(name, Ping())

    with running(worker("a", journal), worker("b", journal)) as tree:
        tree.run(fill())
        # The calls that b holds are lost with b: a's mailbox is free again, b's begins anew.
        os.kill(tree.pid("b"), signal.SIGKILL)
        tree.ping("b")
        tree.ping("a")


def test_a_connection_that_is_lost_while_its_process_lives_is_made_again(journal):
    with running(worker("a", journal)) as tree:
        info = tree.node.whereis("a")
        assert info is not None
        heard: list[str] = []
        tree.node.monitor("a", lambda _: heard.append("up"), lambda _: heard.append("down"))
        tree.call("a", Ping())
        tree.node.link(info.address, info.instance).close("the test says so")
        assert heard == ["up", "down"]
        assert tree.ping("a").pid == info.pid
        assert heard == ["up", "down", "up"]
        assert tree.call("a", Ping()) == Pong(0, info.pid)
