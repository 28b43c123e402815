"""Resizing a set of partitions: which slots move, and that no message is lost, reordered or served by two."""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnexus.supervision import partitioned
from bitnexus.supervision.partitioned import (
    MOVES,
    SLOTS,
    Drain,
    Hold,
    Release,
    Resize,
    Resized,
    Router,
    StartPartition,
    Step,
    StopPartition,
    moves,
    slot_of,
    table_of,
)


def test_slots_are_stable() -> None:
    assert [slot_of(key) for key in ("alice", "bob", "")] == [71, 320, 0]


@pytest.mark.parametrize("partitions", [1, 2, 3, 5, 8, 64])
def test_every_partition_has_the_same_share_to_one_slot(partitions: int) -> None:
    shares = Counter(table_of(partitions))
    assert len(shares) == partitions
    assert max(shares.values()) - min(shares.values()) <= 1


def test_growing_by_one_moves_the_new_ones_share_and_nothing_else() -> None:
    for before, after in pairwise(range(1, 20)):
        moved = moves(before, after)
        assert {new for _, new in moved.values()} == {after - 1}
        assert len(moved) == SLOTS // after


def test_shrinking_undoes_growing() -> None:
    assert {slot: (new, old) for slot, (old, new) in moves(3, 7).items()} == moves(7, 3)


def test_new_partitions_are_up_before_anything_is_held() -> None:
    resize = Resize(1)
    resize.joined("r")
    assert resize.begin(3) == [StartPartition(1), StartPartition(2)]
    assert resize.up(1) == []
    assert len(resize.up(2)) == MOVES


def test_a_second_resize_waits_for_the_first() -> None:
    resize = Resize(1)
    resize.begin(2)
    with pytest.raises(ValueError, match="resize to 2"):
        resize.begin(3)


def test_a_new_partition_that_does_not_start_ends_the_resize_with_nothing_moved() -> None:
    resize = Resize(2)
    resize.begin(4)
    resize.up(3)
    assert resize.start_failed() == [StopPartition(2), StopPartition(3)]
    assert not resize.is_under_way
    assert resize.owners == list(table_of(2))


def test_without_routers_the_old_owner_drains_at_once_and_its_death_is_as_good() -> None:
    resize = Resize(2)
    steps = resize.begin(1)
    assert all(isinstance(step, Drain) and step.partition == 1 for step in steps)
    for _ in range(SLOTS // 2 // MOVES):
        steps = resize.down(1)
    assert steps == [StopPartition(1), Resized(1)]
    assert set(resize.owners) == {0}


def test_a_router_that_holds_too_much_refuses_before_any_effect() -> None:
    router: Router[int] = Router(table_of(1), bound=1)
    router.hold(slot_of("a"))
    assert router.route("a", 1) is None
    with pytest.raises(OverflowError):
        router.route("a", 2)
    assert router.release(slot_of("a"), 0) == [("a", 1)]
    assert router.waiting == 0


class Town:
    """Routers, partitions and the channels between them; what is delivered next is drawn."""

    def __init__(self, partitions: int, routers: int) -> None:
        self.resize = Resize(partitions)
        self.routers = {name: Router[int](self.resize.owners, bound=10**6) for name in range(routers)}
        for name in self.routers:
            self.resize.joined(name)
        # To a partition from one sender; to a router; to the resize.
        self.channels: dict[tuple[str, object, object], deque[object]] = {}
        self.received: dict[str, list[int]] = {}
        self.serving: dict[int, int | None] = {}
        self.stopped: set[int] = set()
        self.is_resized = False

    def put(self, kind: str, sender: object, to: object, item: object) -> None:
        self.channels.setdefault((kind, sender, to), deque()).append(item)

    def carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case StartPartition(partition):
                    self.put("resize", partition, "up", partition)
                case StopPartition(partition):
                    self.stopped.add(partition)
                case Hold(router, _) | Release(router, _, _):
                    self.put("router", "resize", router, step)
                case Drain(partition, _):
                    # Behind what the routers have sent: they said that they hold on the same channels.
                    self.put("partition", "resize", partition, step)
                case Resized():
                    self.is_resized = True

    def send(self, router: int, key: str, message: int) -> None:
        partition = self.routers[router].route(key, message)
        if partition is not None:
            self.put("partition", router, partition, (key, message))

    def deliver(self, channel: tuple[str, object, object]) -> None:
        kind, _, to = channel
        item = self.channels[channel].popleft()
        if not self.channels[channel]:
            del self.channels[channel]
        if kind == "partition":
            self.at_partition(to, item)
        elif kind == "router":
            self.at_router(to, item)
        elif to == "up":
            self.carry_out(self.resize.up(item))  # type: ignore[arg-type]
        elif to == "holds":
            self.carry_out(self.resize.holds(*item))  # type: ignore[misc]
        else:
            self.carry_out(self.resize.drained(*item))  # type: ignore[misc]

    def at_partition(self, partition: object, item: object) -> None:
        assert isinstance(partition, int)
        assert partition not in self.stopped, "a message to a partition that was stopped"
        match item:
            case Drain(_, slot):
                self.put("resize", partition, "drained", (partition, slot))
                self.serving[slot] = None
            case ("holds", router, slot):
                self.put("resize", partition, "holds", (router, slot))
            case (str(key), int(message)):
                slot = slot_of(key)
                assert self.serving.get(slot) in (None, partition), "two partitions serve one key"
                self.serving[slot] = partition
                self.received.setdefault(key, []).append(message)

    def at_router(self, name: object, item: object) -> None:
        assert isinstance(name, int)
        match item:
            case Hold(_, slot):
                self.routers[name].hold(slot)
                # Through the old owner, so that it arrives behind what this router has sent there.
                self.put("partition", name, self.resize.owners[slot], ("holds", name, slot))
            case Release(_, slot, partition):
                for kept in self.routers[name].release(slot, partition):
                    self.put("partition", name, partition, kept)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    routers=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_no_message_is_lost_or_reordered_whatever_the_order_of_events(
    sizes: list[int], routers: int, seed: int
) -> None:
    random = Random(seed)
    town = Town(sizes[0], routers)
    # Each key has one router: order is promised to a sender.
    keys = {f"user-{number}": number % routers for number in range(40)}
    sent: dict[str, list[int]] = {}
    serial = 0
    for size in sizes[1:]:
        town.is_resized = False
        town.carry_out(town.resize.begin(size))
        while not town.is_resized or town.channels:
            key = random.choice(list(keys))
            if not town.is_resized and random.random() < 0.3:
                serial += 1
                sent.setdefault(key, []).append(serial)
                town.send(keys[key], key, serial)
            if town.channels:
                town.deliver(random.choice(list(town.channels)))
        assert town.resize.owners == list(partitioned.table_of(size))
        town.stopped.clear()
    assert town.received == sent
    assert sum(router.waiting for router in town.routers.values()) == 0
