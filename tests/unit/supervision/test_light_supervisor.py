"""Light actors under supervision, on a real loop and a real table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bitnexus.actors.runtime.light import Crash, LightActor, Limits
from bitnexus.actors.runtime.reasons import SHUTDOWN, ExitReason
from bitnexus.errors import BitNexusError, NoProcess, Quarantined
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic_flags import Budget, DynamicFlags
from bitnexus.supervision.light_supervisor import LightSupervisor
from bitnexus.supervision.spec import Backoff, ChildSpec, ShutdownTime


class Echo(LightActor[str, object, str]):
    """Raises on "die", says that it works from "work" to "rest", echoes everything else."""

    __slots__ = ("life", "working")

    def __init__(self, key: str, life: int) -> None:
        super().__init__(key)
        self.life = life
        self.working = False

    @property
    def busy(self) -> bool:
        return self.working

    def receive(self, message: str, context: object) -> str:
        if message == "die":
            raise ValueError("told to die")
        self.working = message == "work"
        return f"{message} {self.life}"


class Children:
    def __init__(self) -> None:
        self.lives: dict[str, int] = {}
        self.said: list[tuple[str, str]] = []
        self.failed: list[tuple[str, str]] = []
        self.crashes: list[Crash] = []
        self.reports: list[ev.Report] = []
        self.stillborn: set[str] = set()

    def make(self, key: str, state: object) -> Echo:
        if key in self.stillborn:
            raise RuntimeError("cannot be made")
        self.lives[key] = self.lives.get(key, 0) + 1
        return Echo(key, self.lives[key])

    def emit(self, actor: LightActor[str, object, str], output: str, context: object) -> None:
        self.said.append((actor.key, output))

    def undelivered(self, key: str, message: str, context: object, error: BitNexusError) -> None:
        self.failed.append((key, message))

    def crashed(self, crash: Crash, context: object | None) -> None:
        self.crashes.append(crash)

    def reported(self, report: ev.Report) -> None:
        self.reports.append(report)


Supervised = LightSupervisor[str, object, str, object]


def supervised(
    children: Children, *, backoff: Backoff | None = None, shutdown: ShutdownTime = 5000, **flags: object
) -> Supervised:
    return LightSupervisor(
        children,
        DynamicFlags(**flags),  # type: ignore[arg-type]
        ChildSpec("echo", Echo, backoff=backoff, shutdown=shutdown),
        limits=Limits(),
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_a_started_child_receives_and_an_unknown_one_does_not() -> None:
    children = Children()
    sup = supervised(children)
    assert sup.start_child("a") == ev.Ok("a")
    assert sup.start_child("a") == ev.Error("already_started", "a")
    sup.tell("a", "hello", None)
    with pytest.raises(NoProcess):
        sup.tell("b", "hello", None)
    await until(lambda: children.said)
    assert children.said == [("a", "hello 1")]
    await sup.stop()


async def test_a_start_that_raises_is_told_to_the_caller_and_leaves_nothing() -> None:
    children = Children()
    children.stillborn.add("a")
    sup = supervised(children)
    answer = sup.start_child("a")
    assert isinstance(answer, ev.Error)
    assert isinstance(answer.detail, ExitReason)
    assert (answer.code, answer.detail.parts[:2]) == ("start_failed", ("RuntimeError", "cannot be made"))
    assert len(sup) == 0
    await sup.stop()


async def test_a_crashed_child_is_there_again_and_gets_what_was_queued_behind_the_fatal_message() -> None:
    children = Children()
    sup = supervised(children)
    sup.start_child("a")
    sup.start_child("b")
    for message in ("one", "die", "two"):
        sup.tell("a", message, None)
    sup.tell("b", "one", None)
    await until(lambda: len(children.said) == 3)
    assert [said for key, said in children.said if key == "a"] == ["one 1", "two 2"]
    assert children.failed == [("a", "die")]
    (ended,) = sup.history.of("a")
    assert ended.reason.parts[:2] == ("ValueError", "told to die")
    assert "receive" in ended.traceback
    await sup.stop()


async def test_a_crashed_child_is_started_again_even_if_nothing_waits_for_it() -> None:
    children = Children()
    sup = supervised(children)
    sup.start_child("a")
    sup.tell("a", "die", None)
    await until(lambda: children.lives["a"] == 2)
    assert list(sup.which_children()) == [ev.ChildInfo("a", "a", "worker")]
    await sup.stop()


async def test_a_restart_that_fails_is_tried_again_within_the_intensity_and_then_all_end() -> None:
    children = Children()
    sup = supervised(children, intensity=3)
    for key in ("a", "b"):
        sup.start_child(key)
    children.stillborn.add("a")
    sup.tell("a", "die", None)
    assert await asyncio.wait_for(sup.ended, 5) == SHUTDOWN
    assert [report.kind for report in children.reports] == ["start_error"] * 3 + ["shutdown"]
    assert len(sup.actors) == 0
    with pytest.raises(NoProcess):
        sup.tell("b", "hello", None)
    await sup.stop()


async def test_a_thousand_that_crash_at_once_are_all_back() -> None:
    children = Children()
    sup = supervised(children, budget=Budget())
    keys = [str(number) for number in range(1000)]
    for key in keys:
        sup.start_child(key)
        sup.tell(key, "die", None)
        sup.tell(key, "hello", None)
    await until(lambda: len(children.said) == 1000)
    assert {said for _, said in children.said} == {"hello 2"}
    assert sup.count_children().active == 1000
    await sup.stop()


async def test_a_child_with_backoff_is_refused_until_its_wait_is_over() -> None:
    children = Children()
    sup = supervised(children, backoff=Backoff(first_s=0.05, jitter=0))
    sup.start_child("a")
    sup.tell("a", "die", None)
    await until(lambda: children.crashes)
    assert list(sup.which_children()) == [ev.ChildInfo("a", "restarting", "worker")]
    with pytest.raises(Quarantined):
        sup.tell("a", "hello", None)
    await until(lambda: children.lives["a"] == 2)
    sup.tell("a", "hello", None)
    await until(lambda: children.said)
    await sup.stop()


@pytest.mark.parametrize("on_demand", [False, True])
async def test_a_poison_child_is_set_aside_alone_and_released_later(on_demand: bool) -> None:
    children = Children()
    sup = supervised(children, budget=Budget(restarts=2, quarantine_s=0.2), on_demand=on_demand)
    if not on_demand:
        for key in ("bad", "good"):
            sup.start_child(key)
    for _ in range(5):
        sup.tell("bad", "die", None)
    await until(sup.quarantined)
    assert len(children.crashes) == 3
    assert children.failed == [("bad", "die")] * 5
    with pytest.raises(Quarantined):
        sup.tell("bad", "hello", None)
    sup.tell("good", "hello", None)
    await until(lambda: children.said == [("good", "hello 1")])
    await until(lambda: not sup.quarantined())
    sup.tell("bad", "hello", None)
    await until(lambda: ("bad", "hello 4") in children.said)
    assert [report.kind for report in children.reports] == ["quarantined", "released"]
    await sup.stop()


async def test_an_operator_releases_a_child() -> None:
    children = Children()
    sup = supervised(children, budget=Budget(restarts=0, quarantine_s=1000), on_demand=True)
    sup.tell("a", "die", None)
    await until(sup.quarantined)
    assert await sup.release_child("a") == ev.Ok()
    assert await sup.release_child("a") == ev.Error("not_found")
    sup.tell("a", "hello", None)
    await until(lambda: children.said)
    await sup.stop()


async def test_of_children_on_demand_nothing_is_remembered_when_they_are_passivated() -> None:
    children = Children()
    sup = supervised(children, budget=Budget(), on_demand=True)
    sup.tell("a", "hello", None)
    await until(lambda: children.said)
    sup.actors.retire("a")
    assert (len(sup), list(sup.which_children())) == (0, [])
    await sup.stop()


async def test_terminate_child_waits_for_the_work_of_the_child_and_forgets_it() -> None:
    children = Children()
    sup = supervised(children)
    sup.start_child("a")
    sup.tell("a", "work", None)
    await until(lambda: children.said)
    ending = asyncio.create_task(sup.terminate_child("a"))
    await asyncio.sleep(0.02)
    assert not ending.done()
    sup.tell("a", "rest", None)
    assert await ending == ev.Ok()
    assert len(sup) == 0
    assert await sup.terminate_child("a") == ev.Error("not_found")
    await sup.stop()


async def test_a_child_that_does_not_end_in_its_time_is_killed() -> None:
    children = Children()
    sup = supervised(children, shutdown=20)
    sup.start_child("a")
    sup.tell("a", "work", None)
    await until(lambda: children.said)
    assert await asyncio.wait_for(sup.terminate_child("a"), 5) == ev.Ok()
    assert [report.kind for report in children.reports] == ["shutdown_error"]
    assert children.crashes == []
    await sup.stop()


@pytest.mark.parametrize("shutdown", [5000, 0, "brutal_kill", "infinity"])
async def test_stop_ends_all_children(shutdown: ShutdownTime) -> None:
    children = Children()
    sup = supervised(children, shutdown=shutdown)
    for number in range(5000):
        sup.start_child(str(number))
    await asyncio.wait_for(sup.stop(), 10)
    assert len(sup.actors) == 0
    assert sup.ended.result() == SHUTDOWN


async def test_a_child_killed_by_an_operator_of_the_table_is_restarted() -> None:
    children = Children()
    sup = supervised(children)
    sup.start_child("a")
    assert sup.actors.kill("a", "operator")
    await until(lambda: children.lives["a"] == 2)
    await sup.stop()
