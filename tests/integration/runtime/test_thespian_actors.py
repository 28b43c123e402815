"""Thespian's own actors on our system base: what its handlers may do while they run inside the transport's loop."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from thespian.actors import Actor, ActorAddress, ActorSystem, ActorTypeDispatcher, ChildActorExited, PoisonMessage
from thespian.system.messages.status import Thespian_StatusReq

from bitnexus.actors.runtime.admin import LOGGER_EVERY_S
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.loops import new_event_loop
from bitnexus.actors.runtime.system import start_system
from bitnexus.supervision.admin_process import is_alive, listener
from tests.running import free_port, wait_until

PATIENCE_S = 20


class Willing(Actor):  # type: ignore[misc]  # Thespian has no type hints
    """Does as it is told."""

    def receiveMessage(self, message, sender):  # noqa: C901, N802, PLR0912  # a table of commands; Thespian's name
        match message:
            case "run a loop":
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    self.send(sender, runner.run(asyncio.sleep(0.001, "it ran")))
            case "is a loop running":
                self.send(sender, asyncio._get_running_loop() is not None)
            case ("fork", int(depth)):
                self._asker = sender
                if depth:
                    self.send(self.createActor(Willing), ("fork", depth - 1))
                else:
                    self.send(sender, [os.getpid()])
            case list(pids):
                self.send(self._asker, [*pids, os.getpid()])
            case ("count", int(number)):
                for each in range(number):
                    self.send(self.myAddress, ("one", each))
                self._asker, self._seen, self._last = sender, [], number
            case ("one", int(number)):
                self._seen.append(number)
                if len(self._seen) == self._last:
                    self.send(self._asker, self._seen)
            case "end the child":
                self._asker = sender
                self.send(self.createActor(Dying), "die")
            case ChildActorExited():
                self.send(self._asker, "the child has exited")
            case "who are you":
                self.send(sender, os.getpid())
            case "fail":
                raise ValueError("it fails")
            case ("wake me", payload):
                self._asker = sender
                self.wakeupAfter(0.01, payload)
        if type(message).__name__ == "WakeupMessage":
            self.send(self._asker, message.payload)


class Dying(ActorTypeDispatcher):  # type: ignore[misc]
    """Dies at its first message."""

    def receiveMsg_str(self, message, sender):  # noqa: N802  # Thespian's name
        os._exit(3)


@pytest.fixture
def admin_port() -> int:
    return free_port()


@pytest.fixture(params=["uvloop", "asyncio"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, admin_port: int) -> Iterator[ActorSystem]:
    monkeypatch.setenv("BITNEXUS_LOOP", request.param)
    base = start_system(admin_port, {"version": 1, "root": {"level": "CRITICAL"}})
    running = ActorSystem(base, transientUnique=True)
    yield running
    running.shutdown()


def test_an_actor_may_run_a_loop_of_its_own(system):
    actor = system.createActor(Willing)
    assert system.ask(actor, "is a loop running", PATIENCE_S) is False
    assert system.ask(actor, "run a loop", PATIENCE_S) == "it ran"
    assert system.ask(actor, "run a loop", PATIENCE_S) == "it ran"


def test_actors_fork_from_their_handlers_generation_after_generation(system):
    actor = system.createActor(Willing)
    for _ in range(2):
        pids = system.ask(actor, ("fork", 5), PATIENCE_S)
        assert len(set(pids)) == 6


def test_the_death_of_a_child_that_was_forked_in_a_handler_is_noticed(system):
    assert system.ask(system.createActor(Willing), "end the child", PATIENCE_S) == "the child has exited"


def test_messages_to_oneself_come_in_order_and_let_the_loop_turn(system):
    actor = system.createActor(Willing)
    assert system.ask(actor, ("count", 2_000), PATIENCE_S) == list(range(2_000))
    assert system.ask(actor, "is a loop running", PATIENCE_S) is False


def test_an_exception_of_an_actor_is_thespians_to_deal_with(system):
    actor = system.createActor(Willing)
    assert isinstance(system.ask(actor, "fail", PATIENCE_S), PoisonMessage)
    assert system.ask(actor, "run a loop", PATIENCE_S) == "it ran"


def test_a_wakeup_that_was_asked_for_inside_the_loop_comes(system):
    assert system.ask(system.createActor(Willing), ("wake me", "up"), PATIENCE_S) == "up"


def test_a_logger_killed_before_it_could_say_that_it_is_there_is_replaced_as_well(system, admin_port):
    admin = listener(admin_port)
    assert admin is not None
    killed: set[int] = set()

    def newest() -> Any:
        return next((child for child in admin.children() if is_alive(child) and child.pid not in killed), None)

    began = time.monotonic()
    while len(killed) < 5:
        victim = wait_until(newest, PATIENCE_S, lambda: f"{len(killed)} loggers were killed, the last was not replaced")
        os.kill(victim.pid, signal.SIGKILL)
        killed.add(victim.pid)
    assert wait_until(newest, PATIENCE_S, lambda: "the last one was not replaced")
    assert time.monotonic() - began > 4 * LOGGER_EVERY_S  # the first one, which had lived, was replaced at once
    # The admin hears: it makes an actor, and sees it die.
    assert system.ask(system.createActor(Willing), "end the child", PATIENCE_S) == "the child has exited"


def connections_to(system: ActorSystem, actor: ActorAddress) -> list[Connection]:
    transport = system._systemBase.transport
    address = transport.address_behind(actor)
    return [each for each in transport.peers.connections() if each.peer_address == address]


def test_an_answer_comes_over_the_connection_that_the_question_took(system):
    actor = system.createActor(Willing)
    for _ in range(3):
        assert isinstance(system.ask(actor, "who are you", PATIENCE_S), int)
    (connection,) = connections_to(system, actor)
    assert connection.dialled
    # When it is gone, the next question makes another one.
    connection.close("the test wants it")
    assert isinstance(system.ask(actor, "who are you", PATIENCE_S), int)
    (another,) = connections_to(system, actor)
    assert another is not connection


def test_no_actor_is_made_to_sleep_for_what_it_sends(system):
    # Its bounds are those of its connections.
    assert system.ask(system.createActor(Willing), Thespian_StatusReq(), PATIENCE_S).governer == "not limited"


def test_an_actor_whom_nobody_asks_any_more_sleeps(system):
    actor = system.createActor(Willing)
    pids = {system.ask(actor, "who are you", PATIENCE_S) for _ in range(100)}
    process = psutil.Process(pids.pop())
    before = process.cpu_times()
    time.sleep(0.2)  # that is what is measured
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.05
