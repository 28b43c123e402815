"""A tree of echoing processes, callers of all kinds, and somebody who breaks things.

    root ── steady, a, one ── b, two ── c

Promised: every call ends in exactly one answer (the reply to this very question, or an error) or is withdrawn by its
caller; what does not die keeps its memory and its descriptors. `steady` is flooded, but never killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bitnexus.actors.runtime import process
from bitnexus.actors.runtime.message import Message
from bitnexus.errors import BitNexusError, Overloaded
from bitnexus.supervision.spec import ChildSpec
from tests.tree.actors import Hold, Ping, Pong
from tests.tree.running import Tree, running, supervisor, worker

CALLERS = 24
NAMES = ("steady", "a", "b", "c")
#: Messages in a mailbox of theirs; a flood is more.
FULL_AT = 4_000
#: How long everything may take to be as before when nothing breaks any more.
SETTLE_S = 20.0
#: Memory and descriptors are first looked at after this part of the time, when everything has been at work.
WARM = 0.2
#: What a process that lives all the time may grow by afterwards.
MAX_GROWTH_MIB = 24.0
#: Descriptors that it may hold at the end more than before the first fault, with the same processes up: a connection
#: may be on its way out.
MAX_DESCRIPTORS = 3


@dataclass
class Report:
    """What happened; `broken` are the promises that were not kept."""

    seed: int
    seconds: float
    answers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    longest_call_s: float = 0.0
    memory_mib: dict[str, list[float]] = field(default_factory=dict)
    descriptors: dict[str, list[int]] = field(default_factory=dict)  # before the first fault, ..., at the end
    broken: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For printing: of the samples the first, the middle and the last."""
        few = {name: [each[0], each[len(each) // 2], each[-1]] for name, each in self.memory_mib.items() if each}
        return {**vars(self), "memory_mib": few}


class Soak:
    """One run; the same seed makes the same plan, not the same run."""

    def __init__(self, seed: int, seconds: float, progress: Callable[[str], None]) -> None:
        self._random = random.Random(seed)
        self._seconds = seconds
        self._progress = progress
        self._report = Report(seed, seconds)
        self._open: set[int] = set()  # calls by number that have no answer yet
        self._last = 0
        self._stopping = False
        self._stopped: set[int] = set()
        self._tree: Tree

    def run(self, journal: Path) -> Report:
        """Needs a thread without a loop, settings in use, no other children."""
        deepest = supervisor("two", worker("c", journal))
        bound, process.MAX_MAILBOX = process.MAX_MAILBOX, FULL_AT  # theirs too: they are forks
        try:
            self._run(journal, deepest)
        finally:
            process.MAX_MAILBOX = bound
        return self._report

    def _run(self, journal: Path, deepest: ChildSpec) -> None:
        with running(
            worker("steady", journal), worker("a", journal), supervisor("one", worker("b", journal), deepest)
        ) as tree:
            self._tree = tree
            tree.run(self._everything(), self._seconds + SETTLE_S + 30)

    async def _everything(self) -> None:
        await self._settle()
        self._report.descriptors = {name: [each.num_fds()] for name, each in self._lasting().items()}
        started = time.monotonic()
        callers = [asyncio.ensure_future(self._call_for_ever()) for _ in range(CALLERS)]
        breaking = asyncio.ensure_future(self._break_for_ever())
        warm_at, shown_at = started + self._seconds * WARM, started
        while (now := time.monotonic()) - started < self._seconds:
            await asyncio.sleep(0.5)
            if now >= warm_at:
                self._sample()
            if now >= shown_at:
                shown_at = now + 10
                self._show(now - started)
            for task in (*callers, breaking):
                if task.done():
                    task.result()
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        self._let_go()
        self._stopping = True
        await asyncio.gather(*callers)
        await self._settle()
        self._sample()
        self._judge()

    # -- calls -----------------------------------------------------------------------------------------------

    async def _call_for_ever(self) -> None:
        kinds = (self._ask, self._ask, self._ask, self._request, self._request, self._withdraw)
        while not self._stopping:
            kind = self._random.choice(kinds)
            started = time.monotonic()
            await kind(self._random.choice(NAMES))
            self._report.longest_call_s = max(self._report.longest_call_s, time.monotonic() - started)
            await asyncio.sleep(self._random.random() * 0.004)

    def _next(self) -> int:
        self._last += 1
        return self._last

    async def _ask(self, name: str) -> None:
        number, retry = self._next(), self._random.random() < 0.5
        timeout_s = self._random.choice((0.05, 1.0, 8.0))
        try:
            answer = await self._tree.node.call(name, Ping(number), timeout_s=timeout_s, retry=retry)
        except BitNexusError as error:
            self._report.answers[type(error).__name__] += 1
        else:
            self._replied(number, answer)

    async def _request(self, name: str) -> None:
        """Without a task: the callback is counted."""
        number, done = self._next(), asyncio.Event()
        self._open.add(number)

        def on_reply(result: Message | BitNexusError) -> None:
            if number not in self._open:
                self._report.broken.append(f"call {number} was answered twice")
            self._open.discard(number)
            if isinstance(result, BitNexusError):
                self._report.answers[type(result).__name__] += 1
            else:
                self._replied(number, result)
            done.set()

        try:
            self._tree.node.request(name, Ping(number), on_reply, timeout_s=2.0, retry=self._random.random() < 0.5)
        except Overloaded:
            self._open.discard(number)
            self._report.answers["Overloaded"] += 1
            return
        try:
            await asyncio.wait_for(done.wait(), 5)
        except TimeoutError:
            self._report.broken.append(f"call {number} was not answered long after its deadline")

    async def _withdraw(self, name: str) -> None:
        call = asyncio.ensure_future(self._tree.node.call(name, Hold(), timeout_s=3))
        await asyncio.sleep(self._random.random() * 0.01)
        call.cancel()
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        withdrawn = isinstance(outcome, asyncio.CancelledError)
        self._report.answers["withdrawn" if withdrawn else type(outcome).__name__] += 1

    def _replied(self, number: int, answer: Message) -> None:
        self._report.answers["replied"] += 1
        if not isinstance(answer, Pong) or answer.number != number:
            self._report.broken.append(f"call {number} was answered by {answer}")

    # -- faults ----------------------------------------------------------------------------------------------

    async def _break_for_ever(self) -> None:
        faults = (self._kill, self._kill, self._stop_for_a_while, self._cut, self._cut, self._flood)
        while True:
            fault = self._random.choice(faults)
            self._report.faults[fault.__name__.strip("_")] += 1
            await fault()
            await asyncio.sleep(0.02 + self._random.random() * 0.3)

    async def _kill(self) -> None:
        self._signal(self._random.choice(("a", "b", "c", "a", "b", "c", "one", "two")), signal.SIGKILL)

    async def _stop_for_a_while(self) -> None:
        pid = self._signal(self._random.choice(("a", "b", "c")), signal.SIGSTOP)
        if pid:
            self._stopped.add(pid)
            after_s = self._random.choice((0.1, 0.5, 1.0, 6.0))  # the last is longer than it lives
            asyncio.get_running_loop().call_later(after_s, self._continue, pid)

    def _continue(self, pid: int) -> None:
        self._stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _let_go(self) -> None:
        for pid in list(self._stopped):
            self._continue(pid)

    async def _cut(self) -> None:
        info = self._tree.node.whereis(self._random.choice(NAMES))
        if info is not None:
            self._tree.node.link(info.address, info.instance).close("the soak says so")

    async def _flood(self) -> None:
        """More than the mailbox takes."""
        name = self._random.choice(("steady", "steady", "a"))
        outcomes = self._report.answers
        for _ in range(self._random.choice((500, 5_000, 30_000))):
            try:
                self._tree.node.request(
                    name,
                    Hold(),
                    lambda result: outcomes.update({f"flood {type(result).__name__}": 1}),
                    timeout_s=0.5,
                )
            except Overloaded:
                outcomes["flood Overloaded"] += 1

    def _signal(self, name: str, number: signal.Signals) -> int:
        info = self._tree.node.whereis(name)
        if info is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(info.pid, number)
        return info.pid

    # -- the verdict -----------------------------------------------------------------------------------------

    def _lasting(self) -> dict[str, psutil.Process]:
        """Those who live all the time."""
        pids = {"callers": os.getpid(), "root": self._tree.launcher.root_pid}
        info = self._tree.node.whereis("steady")
        if info is not None:
            pids["steady"] = info.pid
        return {name: psutil.Process(pid) for name, pid in pids.items()}

    def _sample(self) -> None:
        for name, lasting in self._lasting().items():
            self._report.memory_mib.setdefault(name, []).append(round(lasting.memory_info().rss / 2**20, 1))
            self._report.descriptors.setdefault(name, []).append(lasting.num_fds())

    async def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        for name in NAMES:
            while True:
                try:
                    await self._tree.node.call(name, Ping(), timeout_s=SETTLE_S, retry=True)
                    break
                except Overloaded:  # the last flood has not run off yet
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.05)
        while self._tree.node.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    def _judge(self) -> None:
        report = self._report
        if self._tree.node.in_flight:
            report.broken.append(f"{self._tree.node.in_flight} calls have no answer")
        if self._open:
            report.broken.append(f"{len(self._open)} calls were not answered")
        for name, samples in report.memory_mib.items():
            # Floods come and go: what counts is the least that is held, early and late.
            part = max(1, len(samples) // 3)
            growth = min(samples[-part:]) - min(samples[:part])
            if growth > MAX_GROWTH_MIB:
                report.broken.append(f"{name} grew by {growth:.1f} MiB")
        for name, counts in report.descriptors.items():
            report.descriptors[name] = [counts[0], max(counts), counts[-1]]
            if counts[-1] - counts[0] > MAX_DESCRIPTORS:
                report.broken.append(f"{name} holds {counts[-1]} descriptors, and held {counts[0]}")

    def _show(self, seconds: float) -> None:
        answers, faults = self._report.answers, self._report.faults
        self._progress(
            f"{seconds:6.0f} s  replied {answers['replied']:>8}  all {sum(answers.values()):>9}  "
            f"faults {sum(faults.values()):>5}  broken {len(self._report.broken)}"
        )
