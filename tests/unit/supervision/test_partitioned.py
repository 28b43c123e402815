"""Resizing a set of partitions: which slots move, and that no message is lost, reordered or served by two."""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnexus.supervision.partitioned import (
    MOVES,
    Drain,
    Hold,
    Own,
    Release,
    Resize,
    Resized,
    StartPartition,
    Step,
    StopPartition,
)
from bitnexus.supervision.slots import SLOTS, Routes, moves, partition_name, partition_number, slot_of, table_of


def test_slots_are_stable() -> None:
    assert [slot_of(key) for key in ("alice", "bob", "")] == [71, 320, 0]


@pytest.mark.parametrize("partitions", [1, 2, 3, 5, 8, 64])
def test_every_partition_has_the_same_share_to_one_slot(partitions: int) -> None:
    shares = Counter(table_of(partitions))
    assert len(shares) == partitions
    assert max(shares.values()) - min(shares.values()) <= 1


def test_users_are_spread_evenly() -> None:
    table = table_of(4)
    found = Counter(table[slot_of(str(UUID(int=n * 7919)))] for n in range(4000))
    assert set(found) == {0, 1, 2, 3}
    assert min(found.values()) > 850


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
    assert len(resize.up(2)) == MOVES  # one router


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


def test_without_routers_the_old_owner_drains_at_once() -> None:
    resize = Resize(2)
    steps = resize.begin(1)
    while resize.is_under_way:
        assert all(isinstance(step, Drain) and step.partition == 1 for step in steps)
        owns = [own for step in steps if isinstance(step, Drain) for own in resize.drained(1, step.slot)]
        assert owns == [Own(0, step.slot) for step in steps if isinstance(step, Drain)]
        steps = [step for own in owns if isinstance(own, Own) for step in resize.owns(0, own.slot)]
    assert steps == [StopPartition(1), Resized(1)]
    assert set(resize.owners) == {0}


def test_when_the_old_owner_dies_all_routers_say_again_that_they_hold() -> None:
    resize = Resize(2)
    resize.joined("r")
    slots = [step.slot for step in resize.begin(1) if isinstance(step, Hold)]
    assert resize.down(1) == []  # it has not been asked to drain yet: its successor will be
    assert resize.holds("r", slots[0]) == [Drain(1, slots[0])]
    assert resize.waits_for(1, slots)
    assert resize.down(1) == [Hold("r", slots[0])]
    assert not resize.waits_for(1, slots)
    assert resize.drained(1, slots[0]) == []  # what the dead one said
    assert resize.holds("r", slots[0]) == [Drain(1, slots[0])]
    assert resize.drained(1, slots[0]) == [Own(0, slots[0])]
    assert resize.waits_for(0, slots)


def test_a_new_owner_that_dies_before_it_knows_is_as_good_as_one_that_knows() -> None:
    resize = Resize(1)
    resize.begin(2)
    (first, *_) = resize.up(1)
    assert isinstance(first, Drain)
    assert resize.drained(0, first.slot) == [Own(1, first.slot)]
    assert resize.owners[first.slot] == 1  # what its successor is told when it asks
    assert resize.drained(0, first.slot) == []
    assert [type(step) for step in resize.down(1)] == [Drain]  # released; the next slot's turn
    assert resize.owns(1, first.slot) == []


def test_a_router_that_joins_in_the_middle_is_told_what_is_held_and_is_not_waited_for() -> None:
    resize = Resize(1)
    resize.joined("early")
    resize.begin(2)
    held = [step.slot for step in resize.up(1) if isinstance(step, Hold)]
    assert resize.joined("late") == held
    assert resize.holds("early", held[0]) == [Drain(0, held[0])]
    assert resize.holds("late", held[1]) == []
    resize.drained(0, held[0])
    released = [step for step in resize.owns(1, held[0]) if isinstance(step, Release)]
    assert {step.router for step in released} == {"early", "late"}
    assert {type(step) for step in resize.left("early")} == {Drain}


def test_routes_hold_under_a_name_that_nobody_has() -> None:
    routes = Routes("p")
    names, slot = routes.names, slot_of("alice")
    assert routes.of("alice") == f"p/{slot}"
    assert routes.release(slot, 1) == f"p/{slot}"
    assert routes.of("alice") == names[slot] == "p-1"
    assert routes.hold([slot, slot_of("bob")]) == {"p-1"}
    assert routes.of("alice") == f"p/{slot}"
    assert routes.hold([slot]) == {"p-1"}  # once more
    routes.release(slot, 0)
    assert routes.hold([slot]) == {"p-0"}
    routes.hold_all()
    assert routes.hold([slot]) == set()
    assert routes.names is names
    assert len(set(names)) == SLOTS
    assert all(map(routes.is_route, ["p-0", "p/17"]))
    assert not any(map(routes.is_route, ["p", "ledger", "pp-0"]))


def test_a_partitions_name_has_its_number() -> None:
    assert partition_name("transactions", 12) == "transactions-12"
    assert partition_number("transactions", "transactions-12") == 12
    assert partition_number("transactions", "http-1") is None
    assert partition_number("transactions", "transactions-x") is None


class Town:
    """Routers, partitions and the channels between them; what is delivered next is drawn."""

    def __init__(self, partitions: int, routers: int) -> None:
        self.resize = Resize(partitions)
        self.routers = {name: Routes("p") for name in range(routers)}
        for name, routes in self.routers.items():
            self.resize.joined(name)
            for slot, owner in enumerate(self.resize.owners):
                routes.release(slot, owner)
        # What each router keeps, by the name under which it waits.
        self.waiting: dict[tuple[int, str], list[tuple[str, int]]] = {}
        # To a partition from one sender; to a router; to the resize.
        self.channels: dict[tuple[str, object, object], deque[object]] = {}
        self.received: dict[str, list[int]] = {}
        self.serving: dict[int, int | None] = {}
        self.drained: set[int] = set()
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
                case Own(partition, _):
                    self.put("partition", "resize", partition, step)
                case Drain(partition, _):
                    # Behind what the routers have sent: they said that they hold on the same channels.
                    self.put("partition", "resize", partition, step)
                case Resized():
                    self.is_resized = True

    def send(self, router: int, key: str, message: int) -> None:
        name = self.routers[router].of(key)
        partition = partition_number("p", name)
        if partition is None:
            self.waiting.setdefault((router, name), []).append((key, message))
        else:
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
        elif to == "owns":
            self.carry_out(self.resize.owns(*item))  # type: ignore[misc]
        else:
            self.carry_out(self.resize.drained(*item))  # type: ignore[misc]

    def at_partition(self, partition: object, item: object) -> None:
        assert isinstance(partition, int)
        assert partition not in self.stopped, "a message to a partition that was stopped"
        match item:
            case Drain(_, slot):
                self.put("resize", partition, "drained", (partition, slot))
                assert self.serving.get(slot) in (None, partition)
                self.serving[slot] = None
                self.drained.add(slot)
            case Own(_, slot):
                self.drained.discard(slot)
                self.put("resize", partition, "owns", (partition, slot))
            case ("holds", router, slot):
                self.put("resize", partition, "holds", (router, slot))
            case (str(key), int(message)):
                slot = slot_of(key)
                assert slot not in self.drained, "a message between two owners"
                assert self.serving.get(slot) in (None, partition), "two partitions serve one key"
                self.serving[slot] = partition
                self.received.setdefault(key, []).append(message)

    def at_router(self, name: object, item: object) -> None:
        assert isinstance(name, int)
        match item:
            case Hold(_, slot):
                # Through the old owner, so that it arrives behind what this router has sent there.
                (before,) = self.routers[name].hold([slot])
                self.put("partition", name, partition_number("p", before), ("holds", name, slot))
            case Release(_, slot, partition):
                for kept in self.waiting.pop((name, self.routers[name].release(slot, partition)), []):
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
        assert town.resize.owners == list(table_of(size))
        town.stopped.clear()
    assert town.received == sent
    assert not town.waiting
