"""However replies, deaths, deadlines, withdrawals and repetitions fall together: a caller hears exactly one answer.

A node with a network of the test's own below it, in a time of the test's own: what is sent is kept, and what becomes of
it is hypothesis's choice.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.calls import OpenCall
from bitnexus.actors.runtime.message import Done, Message, NamesChanged, ProcessInfo
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BitNexusError, CallTimeout, NoProcess, Overloaded, ProcessDown

NAMES = ("a", "b")


class Time:
    """The part of a loop that a node uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, action: Callable[..., object], *arguments: Any) -> None:
        heapq.heappush(self._timers, (when, next(self._numbers), action, arguments))

    def call_later(self, after: float, action: Callable[..., object], *arguments: Any) -> None:
        self.call_at(self.now + after, action, *arguments)

    def call_soon(self, action: Callable[..., object], *arguments: Any) -> None:
        self.call_at(self.now, action, *arguments)

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, action, arguments = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            action(*arguments)
        self.now = until


class Line:
    """A connection that keeps what is posted."""

    client = None
    refusal = None
    is_established = True

    def __init__(self, network: Network, info: ProcessInfo) -> None:
        self.network, self.info = network, info
        self.peer_address, self.dialled, self.is_closed = info.address, True, False
        self.silence_limit_s: float | None = 1e9
        self.posted: list[wire.Item] = []

    def post(self, item: bytes) -> None:
        if self.network.is_full:
            raise Overloaded
        self.posted += wire.split(wire.join([item]))

    def cancel(self, ref: int) -> None:
        self.posted.append(wire.Cancel(ref))

    def may_lead_to(self, instance: bytes) -> bool:
        return self.info.instance == instance.hex()

    def close(self, reason: str) -> None:
        self.is_closed = True
        del self.network.lines[self.peer_address]
        self.network.on_closed(cast("Any", self), reason)


class Network:
    """What a node asks of its peers."""

    def __init__(self, time: Time) -> None:
        self.loop = time
        self.lines: dict[str, Line] = {}
        self.all: list[Line] = []
        self.alive: dict[str, ProcessInfo] = {}
        self.is_full = False
        self.on_items: Callable[[Any, list[wire.Item]], None]
        self.on_closed: Callable[[Any, str], None]

    def connection_to(self, address: str, instance: bytes) -> Line:
        if address not in self.lines:
            self.lines[address] = Line(self, ProcessInfo("", "", address, instance.hex(), 0))
            self.all.append(self.lines[address])
        return self.lines[address]

    def connections(self) -> list[Line]:
        return list(self.lines.values())


class OneAnswer(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.network = Network(self.time)
        self.faults: list[Exception] = []
        self.node = Node(cast("Any", self.network), lambda *_: None, lambda: None, self.faults.append)
        self.heard: Counter[int] = Counter()
        self.calls: dict[int, OpenCall] = {}
        self.withdrawn: set[int] = set()
        self.numbers = itertools.count(1)
        self.lives = itertools.count(1)
        self.up: dict[str, ProcessInfo] = {}

    def _change(self, up: list[ProcessInfo], down: list[ProcessInfo]) -> None:
        self.node._names.change(NamesChanged(up, down))

    @rule(name=st.sampled_from(NAMES), retry=st.booleans(), timeout_s=st.sampled_from([0.1, 1.0, 5.0]))
    def call(self, name: str, retry: bool, timeout_s: float) -> None:
        number = next(self.numbers)

        def on_reply(result: Message | BitNexusError) -> None:
            self.heard[number] += 1
            assert isinstance(result, Done | CallTimeout | NoProcess | ProcessDown)
            assert not (retry and isinstance(result, NoProcess | ProcessDown))

        try:
            self.calls[number] = self.node._request(name, Done(), on_reply, timeout_s, retry=retry)
        except Overloaded:
            assert not self.heard[number]

    @rule(name=st.sampled_from(NAMES))
    def start(self, name: str) -> None:
        life = next(self.lives)
        before = self.up.get(name)
        self.up[name] = info = ProcessInfo(name, name, f"h:{life}", f"{life:016x}", life)
        self._change([info], [before] if before else [])

    @rule(name=st.sampled_from(NAMES), announced_first=st.booleans())
    def die(self, name: str, announced_first: bool) -> None:
        info = self.up.pop(name, None)
        if info is None:
            return
        if announced_first:
            self._change([], [info])
        if info.address in self.network.lines:
            self.network.lines[info.address].close("it died")

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Any call that was ever sent, over the line on which it was sent: in time, late, or again."""
        sent = [(line, item) for line in self.network.all for item in line.posted if isinstance(item, wire.Call)]
        if sent:
            line, item = data.draw(st.sampled_from(sent))
            if not line.is_closed:
                reply = wire.encode_reply(item.ref, Done())
                self.network.on_items(line, wire.split(wire.join([reply])))

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.calls:
            number = data.draw(st.sampled_from(sorted(self.calls)))
            if not self.heard[number]:
                self.withdrawn.add(number)
            self.node._give_up(self.calls[number])

    @rule(full=st.booleans())
    def fill(self, full: bool) -> None:
        self.network.is_full = full

    @rule(seconds=st.sampled_from([0.0, 0.06, 0.3, 2.0]))
    def wait(self, seconds: float) -> None:
        self.time.pass_by(seconds)

    @invariant()
    def nobody_hears_twice(self) -> None:
        assert all(count == 1 for count in self.heard.values() if count)
        assert not self.faults
        assert not any(self.heard[number] for number in self.withdrawn)

    def teardown(self) -> None:
        self.time.pass_by(10.0)
        self.nobody_hears_twice()
        for number in self.calls:
            assert self.heard[number] == (number not in self.withdrawn), number
        assert self.node.in_flight == 0
        assert self.node.statistics()["parked"] == 0


TestOneAnswer = OneAnswer.TestCase
TestOneAnswer.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
