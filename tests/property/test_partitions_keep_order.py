"""Partitions change in number while they and their routers are killed: nothing is lost, reordered, or served by two.

A model of a node around the pure core: routers with calls under way that are sent again when their partition dies,
as a node does it; partitions that take their time; a supervisor that hears of deaths when it does. What happens next
is drawn, so every order of events that connections allow may come.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitnexus.supervision.partitioned import Resize, Resized, StartPartition, Step, StopPartition, errands_of
from bitnexus.supervision.slots import Routes, partition_name, partition_number, slot_of, table_of

KEYS = [f"user-{number}" for number in range(100)]
#: A partition and which life of it.
Life = tuple[int, int]


class Router:
    """What a front's node does with calls: open ones by number, where each was sent, those that wait under a name."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.routes = Routes("p")
        self.keys: dict[int, str] = {}  # open calls
        self.sent: dict[int, Life] = {}
        self.waiting: dict[str, list[int]] = defaultdict(list)
        self.up: dict[int, Life] = {}
        self.fences: list[tuple[int, set[Life]]] = []  # slot, lives that have not answered

    def call(self, serial: int, key: str) -> None:
        self.keys[serial] = key
        self.send(serial)

    def send(self, serial: int) -> None:
        name = self.routes.of(self.keys[serial])
        partition = partition_number("p", name)
        life = None if partition is None else self.up.get(partition)
        if life is None:
            self.waiting[name].append(serial)
        else:
            self.sent[serial] = life
            key = self.keys[serial]
            self.world.put(("data", self.number, life), lambda: self.world.received(life, self, serial, key))

    def send_waiting(self, name: str) -> None:
        for serial in sorted(self.waiting.pop(name, [])):
            self.send(serial)

    def answered(self, serial: int, life: Life) -> None:
        if self.sent.get(serial) == life:  # else it has been sent again: the late answer is dropped
            del self.keys[serial], self.sent[serial]

    def hold(self, slot: int) -> None:
        owners = {partition_number("p", name) for name in self.routes.hold([slot])}
        lives = {self.up[owner] for owner in owners if owner in self.up}
        self.fences.append((slot, lives))
        for life in lives:
            self.world.put(("data", self.number, life), lambda life=life: self.fenced(slot, life))  # type: ignore[misc]
        self.tell_held()

    def fenced(self, slot: int, life: Life) -> None:
        if life not in self.world.alive:
            return
        for held, lives in self.fences:
            if held == slot:
                lives.discard(life)
        self.tell_held()

    def tell_held(self) -> None:
        for slot in [slot for slot, lives in self.fences if not lives]:
            self.world.tell_resize(self.number, lambda slot=slot: self.world.resize.holds(self.number, slot))  # type: ignore[misc]
        self.fences = [fence for fence in self.fences if fence[1]]

    def release(self, slot: int, partition: int) -> None:
        self.send_waiting(self.routes.release(slot, partition))

    def is_up(self, life: Life) -> None:
        self.up[life[0]] = life
        self.send_waiting(partition_name("p", life[0]))

    def is_down(self, life: Life) -> None:
        if self.up.get(life[0]) == life:
            del self.up[life[0]]
        for serial in sorted(serial for serial, sent in self.sent.items() if sent == life):
            del self.sent[serial]
            self.send(serial)
        for _, lives in self.fences:
            lives.discard(life)
        self.tell_held()


class World:
    """Everything; `channels` hold what is under way, in order from one end to the other."""

    def __init__(self, random: Random, partitions: int, routers: int) -> None:
        self.random = random
        self.channels: dict[object, deque[Callable[[], None]]] = {}
        self.resize = Resize(partitions)
        self.lives = dict.fromkeys(range(partitions), 0)
        self.alive: set[Life] = set()
        self.own: dict[Life, set[int]] = {}
        self.work: dict[Life, list[tuple[int, Callable[[], None]]]] = defaultdict(list)
        self.draining: dict[Life, list[tuple[set[int], Callable[[], None]]]] = defaultdict(list)
        self.asked: list[tuple[Life, str, int]] = []  # by the supervisor; not answered yet
        self.begun: dict[str, list[int]] = defaultdict(list)
        self.is_resized = False
        self.routers = [Router(self, number) for number in range(routers)]
        for router in self.routers:
            self.resize.joined(router.number)
            for slot, owner in enumerate(self.resize.owners):
                router.release(slot, owner)
        for partition in range(partitions):
            self.start(partition)

    def put(self, channel: object, event: Callable[[], None]) -> None:
        self.channels.setdefault(channel, deque()).append(event)

    def step(self) -> None:
        channel = self.random.choice(list(self.channels))
        if isinstance(channel, tuple) and channel[0] in ("names", "work", "mailbox") and self.random.random() < 0.9:
            channel = self.random.choice(list(self.channels))  # work takes long, and deaths are noticed late
        event = self.channels[channel].popleft()
        if not self.channels[channel]:
            del self.channels[channel]
        event()

    # -- partitions ----------------------------------------------------------------------------------------------

    def start(self, partition: int) -> None:
        self.lives[partition] = self.lives.get(partition, 0) + 1
        life = (partition, self.lives[partition])
        self.alive.add(life)
        self.own[life] = {slot for slot, owner in enumerate(self.resize.owners) if owner == partition}
        for router in self.routers:
            self.put(("names", router.number), lambda router=router: router.is_up(life))  # type: ignore[misc]

    def received(self, life: Life, router: Router, serial: int, key: str) -> None:
        if life not in self.alive:
            return
        slot = slot_of(key)
        assert slot in self.own[life], "a router sent it to the wrong partition"
        others = [each for each in self.alive if each != life and any(at == slot for at, _ in self.work[each])]
        assert not others, "two partitions serve one key"

        def begin() -> None:
            self.begun[key].append(serial)
            self.put(("work", life), lambda: self.finish(life))

        def answer() -> None:
            router.answered(serial, life)

        self.work[life].append((slot, lambda: self.put(("answers", life, router.number), answer)))
        self.put(("mailbox", life), begin)

    def finish(self, life: Life) -> None:
        _, done = self.work[life].pop(0)
        done()
        self.look_drained(life)

    def look_drained(self, life: Life) -> None:
        in_work = {slot for slot, _ in self.work[life]}
        for drain in [each for each in self.draining[life] if not each[0] & in_work]:
            self.draining[life].remove(drain)
            drain[1]()

    def kill(self, partition: int) -> None:
        life = (partition, self.lives[partition])
        if life not in self.alive:
            return
        self.alive.discard(life)
        self.work[life].clear()
        self.draining[life].clear()
        for channel in [each for each in self.channels if isinstance(each, tuple) and life in each]:
            if channel[0] != "answers" or self.random.random() < 0.5:
                del self.channels[channel]
        for router in self.routers:
            self.put(("names", router.number), lambda router=router: router.is_down(life))  # type: ignore[misc]
        self.tell_resize("kernel", lambda: self.resize.down(partition), lambda: self.again(life))

    def again(self, life: Life) -> None:
        self.start(life[0])
        for asked, what, slot in [each for each in self.asked if each[0] == life]:
            self.asked.remove((asked, what, slot))
            if self.resize.waits_for(life[0], [slot]):
                self.ask(life[0], what, slot)

    # -- their supervisor ----------------------------------------------------------------------------------------

    def tell_resize(
        self, sender: object, event: Callable[[], list[Step]], then: Callable[[], None] = lambda: None
    ) -> None:
        def happen() -> None:
            self.carry_out(event())
            then()

        self.put(("resize", sender), happen)

    def carry_out(self, steps: list[Step]) -> None:  # noqa: C901 - one branch a step
        errands = errands_of(steps)
        for router in self.routers:
            for slot, partition in errands.releases.get(router.number, []):
                self.put(
                    ("router", router.number),
                    lambda router=router, slot=slot, partition=partition: router.release(slot, partition),  # type: ignore[misc]
                )
            for slot in errands.holds.get(router.number, []):
                self.put(("router", router.number), lambda router=router, slot=slot: router.hold(slot))  # type: ignore[misc]
        for partition, slots in errands.drains.items():
            for slot in slots:
                self.ask(partition, "drain", slot)
        for partition, slots in errands.owns.items():
            for slot in slots:
                self.ask(partition, "own", slot)
        for step in steps:
            match step:
                case StartPartition(partition):
                    self.start(partition)
                    self.tell_resize("up", lambda partition=partition: self.resize.up(partition))  # type: ignore[misc]
                case StopPartition(partition):
                    self.alive.discard((partition, self.lives[partition]))
                    assert not self.work[partition, self.lives[partition]]
                    self.put_down((partition, self.lives[partition]))
                case Resized():
                    self.is_resized = True

    def put_down(self, life: Life) -> None:
        for router in self.routers:
            self.put(("names", router.number), lambda router=router: router.is_down(life))  # type: ignore[misc]

    def ask(self, partition: int, what: str, slot: int) -> None:
        life = (partition, self.lives[partition])

        def answered() -> None:
            if (life, what, slot) in self.asked:
                self.asked.remove((life, what, slot))
                event = self.resize.drained if what == "drain" else self.resize.owns
                self.tell_resize(life, lambda: event(partition, slot))

        def arrived() -> None:
            if what == "own":
                self.own[life].add(slot)
                answered()
            else:
                self.own[life].discard(slot)
                self.draining[life].append(({slot}, answered))
                self.look_drained(life)

        self.asked.append((life, what, slot))
        if life in self.alive:
            self.put(("asks", life), arrived)


@pytest.mark.timeout(240)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    routers=st.integers(1, 3),
    kills=st.sampled_from([0, 8, 12]),
    seed=st.integers(0, 2**32),
)
def test_nothing_is_lost_reordered_or_served_by_two_whoever_dies(
    sizes: list[int], routers: int, kills: int, seed: int
) -> None:
    random = Random(seed)
    world = World(random, sizes[0], routers)
    sent: dict[str, list[int]] = defaultdict(list)
    serial = 0
    for size in sizes[1:]:
        world.is_resized = False
        world.carry_out(world.resize.begin(size))
        while world.channels or not world.is_resized:
            if not world.is_resized and random.random() < 0.2:
                key = random.choice(KEYS)
                serial += 1
                sent[key].append(serial)
                world.routers[KEYS.index(key) % routers].call(serial, key)
            # What dies while it finishes what it must give away is worth more looks.
            busy = [life[0] for life in world.alive if world.draining[life]]
            if kills and random.random() < (0.05 if busy else 0.001):
                kills -= 1
                world.kill(random.choice(busy or list(world.lives)))
            assert world.channels or world.is_resized, "nothing is under way, and it is not done"
            if world.channels:
                world.step()
        assert world.resize.owners == list(table_of(size))
    assert all(not router.keys for router in world.routers), "calls without an answer"
    # What a dead partition had begun is begun again, but nothing before what came before it.
    assert {key: list(dict.fromkeys(begun)) for key, begun in world.begun.items()} == sent
