"""The number of partitions changes while messages are poured into them: none is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions
from bitnexus.actors.runtime.message import Message
from bitnexus.errors import BadRequest, BitNexusError, Conflict, NoProcess
from bitnexus.supervision.partitioned import MOVES
from bitnexus.supervision.slots import SLOTS, moves, slot_of
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags
from tests.tree.keyed import PARTITIONS, Burst, Pour, Poured, Put, Route, Stop
from tests.tree.running import Tree, lines, running

KEYS = [f"key-{number}" for number in range(60)]
ROUTERS = ("router-0", "router-1")


def partitions(count: int, journal: Path, kind: str = "KeyedPartition") -> ChildSpec:
    start = ProcessStart(f"tests.tree.keyed:{kind}", {"supervisor": PARTITIONS, "journal": str(journal)})
    args = {
        "flags": SupervisorFlags(intensity=100),
        "children": [ChildSpec(f"{PARTITIONS}-{number}", start) for number in range(count)],
    }
    return ChildSpec(
        PARTITIONS,
        ProcessStart("bitnexus.supervision.partition_supervisor:PartitionSupervisor", args),
        type="supervisor",
    )


def router(name: str) -> ChildSpec:
    return ChildSpec(name, ProcessStart("tests.tree.keyed:Pourer"))


class Pouring:
    """Each router pours into half of the keys: order is promised to a sender."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.calls = {
            name: asyncio.ensure_future(
                tree.node.call(name, Pour(KEYS[number :: len(ROUTERS)], window=4), timeout_s=60), loop=tree.node.loop
            )
            for number, name in enumerate(ROUTERS)
        }

    def stop(self) -> dict[str, int]:
        """How many of each key were answered; none has failed."""
        answered: dict[str, int] = {}
        for name, call in self.calls.items():
            self._tree.call(name, Stop())
            poured = self._tree.run(call, 30)
            assert isinstance(poured, Poured)
            assert poured.errors == []
            answered |= poured.answered
        return answered


async def stutter(tree: Tree) -> None:
    """Stop partitions for a moment, again and again, so that messages pile up on their way to them."""
    while True:
        infos = [tree.node.whereis(name) for name in tree.node.names() if name.startswith(f"{PARTITIONS}-")]
        for info in filter(None, infos):
            with contextlib.suppress(ProcessLookupError):
                os.kill(info.pid, signal.SIGSTOP)
                await asyncio.sleep(0.01)
                os.kill(info.pid, signal.SIGCONT)
        await asyncio.sleep(0.02)


def resize(tree: Tree, count: int) -> PartitionsSet:
    answer = tree.call(PARTITIONS, SetPartitions(count), timeout_s=30)
    assert isinstance(answer, PartitionsSet)
    return answer


def table(tree: Tree) -> Partitions:
    answer = tree.call(PARTITIONS, GetPartitions(), retry=True, timeout_s=10)
    assert isinstance(answer, Partitions)
    return answer


def lives_of(journal: Path) -> Iterator[tuple[str, list[tuple[str, int, str]]]]:
    """Of each key: what was begun and ended, with its number, where; in the order in which it happened."""
    found: dict[str, list[tuple[str, int, str]]] = {}
    for line in lines(journal):
        what, key, number, partition = line.split()
        found.setdefault(key, []).append((what, int(number), partition))
    return iter(found.items())


def check_served_by_one_at_a_time(journal: Path) -> int:
    """No key is begun in a partition while it is in work in another; how often keys changed hands."""
    changes = 0
    for _, life in lives_of(journal):
        in_work: set[tuple[int, str]] = set()
        before = life[0][2]
        for what, number, partition in life:
            assert not {each for each in in_work if each[1] != partition}, "in two partitions at once"
            in_work ^= {(number, partition)}
            assert ((number, partition) in in_work) == (what == "begin")
            changes += partition != before
            before = partition
    return changes


def until_begun(tree: Tree, journal: Path, more: int) -> None:
    """Wait until the load goes on."""
    so_far = len(lines(journal))
    tree.until(lambda: len(lines(journal)) > so_far + more, "messages go through")


def test_growing_and_shrinking_under_load_loses_doubles_and_reorders_nothing(journal):
    with running(partitions(1, journal), *map(router, ROUTERS)) as tree:
        pouring = Pouring(tree)
        stuttering = asyncio.ensure_future(stutter(tree), loop=tree.node.loop)
        until_begun(tree, journal, 500)
        before = 1
        for count in (3, 2, 5, 1):
            done = resize(tree, count)
            assert (done.before, done.count, done.slots) == (before, count, len(moves(before, count)))
            assert table(tree).count == count
            until_begun(tree, journal, 500)
            before = count
        answered = pouring.stop()
        stuttering.cancel()
        assert [name for name in tree.node.names() if name.startswith(f"{PARTITIONS}-")] == [f"{PARTITIONS}-0"]
    for key, life in lives_of(journal):
        assert [number for what, number, _ in life if what == "begin"] == list(range(answered[key]))
    assert check_served_by_one_at_a_time(journal) > 2 * len(KEYS)


def test_what_waits_on_its_way_to_the_old_partition_comes_before_what_waits_for_the_new_one(journal):
    first_to_move = sorted(moves(1, 2))[:MOVES]
    key = next(key for key in map(str, range(10_000)) if slot_of(key) in first_to_move)
    with running(partitions(1, journal), router("router-0")) as tree:
        until_routed(tree, key, f"{PARTITIONS}-0")
        old = tree.pid(f"{PARTITIONS}-0")
        os.kill(old, signal.SIGSTOP)
        tree.call("router-0", Burst(key, 0, 39))  # more frames than a connection takes without an answer
        setting = asyncio.ensure_future(tree.node.call(PARTITIONS, SetPartitions(2), timeout_s=30), loop=tree.node.loop)
        until_routed(tree, key, f"{PARTITIONS}/{slot_of(key)}")
        tree.call("router-0", Burst(key, 40, 49))
        os.kill(old, signal.SIGCONT)
        assert isinstance(tree.run(setting, 30), PartitionsSet)
        tree.until(lambda: sum(line.startswith("end") for line in lines(journal)) == 50, "all are done")
    ((_, life),) = lives_of(journal)
    begun = [(number, partition) for what, number, partition in life if what == "begin"]
    assert begun == [(number, f"{PARTITIONS}-{int(number >= 40)}") for number in range(50)]


def until_routed(tree: Tree, key: str, name: str) -> None:
    deadline = time.monotonic() + 10
    while tree.call("router-0", Route(key)) != Route(key, name):
        assert time.monotonic() < deadline


def test_partitions_and_routers_that_are_killed_in_the_middle_of_it_do_not_keep_it_from_its_end(journal):
    with running(partitions(2, journal), *map(router, ROUTERS), router("bystander")) as tree:
        pouring = Pouring(tree)
        until_begun(tree, journal, 300)
        for count in (4, 1, 3):
            setting = asyncio.ensure_future(
                tree.node.call(PARTITIONS, SetPartitions(count), timeout_s=30), loop=tree.node.loop
            )
            for name in (f"{PARTITIONS}-0", "bystander", f"{PARTITIONS}-0"):
                until_begun(tree, journal, 20)
                with contextlib.suppress(ProcessLookupError):  # the news of its last death may not be here yet
                    os.kill(tree.pid(name), signal.SIGKILL)
            assert isinstance(tree.run(setting, 30), PartitionsSet)
            assert table(tree).count == count
        until_begun(tree, journal, 300)
        answered = pouring.stop()
    for key, life in lives_of(journal):
        # What a dead partition had in work is repeated by its caller: then it is begun twice, one after another.
        begun = [number for what, number, _ in life if what == "begin"]
        assert list(dict.fromkeys(begun)) == list(range(answered[key]))


def test_a_router_that_hangs_delays_it_until_it_is_killed_and_no_longer(journal):
    hanging = ChildSpec("bystander", ProcessStart("tests.tree.keyed:Pourer"), heartbeat_timeout_s=1.2)
    with running(partitions(1, journal), *map(router, ROUTERS), hanging) as tree:
        pouring = Pouring(tree)
        os.kill(tree.pid("bystander"), signal.SIGSTOP)
        started = time.monotonic()
        resize(tree, 2)
        assert time.monotonic() - started < 6
        pouring.stop()
    check_served_by_one_at_a_time(journal)


def test_the_death_of_the_supervisor_begins_anew_with_the_first_partitions(journal):
    with running(partitions(2, journal), *map(router, ROUTERS)) as tree:
        pouring = Pouring(tree)
        until_begun(tree, journal, 100)
        resize(tree, 4)
        os.kill(tree.pid(PARTITIONS), signal.SIGKILL)
        until_begun(tree, journal, 300)
        assert table(tree).count == 2
        resize(tree, 1)
        answered = pouring.stop()
    for key, life in lives_of(journal):
        begun = [number for what, number, _ in life if what == "begin"]
        assert list(dict.fromkeys(begun)) == list(range(answered[key]))


def test_what_cannot_be_done_is_refused_and_changes_nothing(journal):
    with running(partitions(1, journal), router("router-0")) as tree:
        for count in (0, -1, 257, 10_000):
            with pytest.raises(BadRequest):
                resize(tree, count)
        assert resize(tree, 1).slots == 0
        answers: list[Message | BitNexusError] = []
        for count in (6, 7):
            tree.node.request(PARTITIONS, SetPartitions(count), answers.append, timeout_s=30)
        tree.until(lambda: len(answers) == 2, "both are answered", 30)
        refused, done = answers
        assert isinstance(refused, Conflict)
        assert isinstance(done, PartitionsSet)
        assert table(tree).count == 6


def test_a_new_partition_that_does_not_start_ends_the_change_with_nothing_moved(journal):
    with running(partitions(1, journal, "AloneOnly"), router("router-0")) as tree:
        with pytest.raises(NoProcess, match="did not start"):
            resize(tree, 3)
        found = table(tree)
        assert (found.count, found.owners) == (1, [0] * SLOTS)
        assert tree.node.names() == [PARTITIONS, f"{PARTITIONS}-0", "root", "router-0"]
        with pytest.raises(NoProcess):  # and so on, each time
            resize(tree, 2)


def test_a_message_for_a_key_of_another_partition_is_refused_whoever_sends_it(journal):
    with running(partitions(2, journal)) as tree:
        owners = table(tree).owners
        assert set(owners) == {0, 1}
        answers = []
        for number in range(2):
            try:
                answers.append(tree.call(f"{PARTITIONS}-{number}", Put("alice", 1)))
            except BitNexusError as error:
                answers.append(error.code)  # type: ignore[arg-type]
        assert sorted(map(str, answers)) == ["Put", "moved"]
