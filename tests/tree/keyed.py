"""Partitions whose light actors take their time, and a router that pours messages into them.

Each partition writes what it begins and ends to the journal: ``begin KEY NUMBER PARTITION`` and ``end …``.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.light import Crash, LightActor, Limits
from bitnexus.actors.runtime.message import Message
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.errors import BitNexusError
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic_flags import DynamicFlags
from bitnexus.supervision.light_supervisor import LightSupervisor
from bitnexus.supervision.partition_messages import MoveSlots
from bitnexus.supervision.partition_router import PartitionRouter
from bitnexus.supervision.partition_worker import PartitionWorker
from bitnexus.supervision.spec import ChildSpec

PARTITIONS = "keyed"


class Put(Message, frozen=True, tag="test.Put/1"):
    """One message to a key; answered with itself."""

    user_id: str
    number: int


class Pour(Message, frozen=True, tag="test.Pour/1"):
    """Send messages with rising numbers to each of `keys`, some at a time, until Stop; answered by Poured."""

    keys: list[str]
    window: int


class Burst(Message, frozen=True, tag="test.Burst/1"):
    """Send the messages `first` … `last` to a key, each in a frame of its own; answered at once."""

    user_id: str
    first: int
    last: int


class Route(Message, frozen=True, tag="test.Route/1"):
    """Ask a router whom it would call for this key; answered with the key, after that name."""

    key: str
    to: str = ""


class Stop(Message, frozen=True, tag="test.Stop/1"):
    """Begin no more."""


class Poured(Message, frozen=True, tag="test.Poured/1"):
    """How many were answered, by key; and how those that failed did."""

    answered: dict[str, int]
    errors: list[str]


class Ended(Message, frozen=True, tag="test.Ended/1"):
    """The work of a Put is done."""

    put: Put


class Slow(LightActor[Any, Context, Any]):
    """Passes on what it is told to, and is busy until that has ended."""

    __slots__ = ("in_work",)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.in_work = 0

    @property
    def busy(self) -> bool:
        return self.in_work > 0

    def receive(self, message: Any, context: Context) -> Any:
        self.in_work += -1 if isinstance(message, Ended) else 1
        return message


class KeyedPartition(PartitionWorker):
    """Args besides: journal. Most messages take no time, some long; its loads take a turn of the loop."""

    #: Longer than it takes to move a slot to a partition that nobody drains.
    long_s: ClassVar[float] = 0.1

    async def init(self) -> None:
        self.keys: LightSupervisor[Any, Context, Any, None] = LightSupervisor(
            self, DynamicFlags(on_demand=True), ChildSpec("key", Slow), limits=Limits(mailbox=1000), load=self._load
        )
        self._journal = Path(self.args["journal"]).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115, ASYNC230
        await self.share(self.keys.actors, drain_within_s=5)

    async def _load(self, keys):
        await asyncio.sleep(0)
        return {}

    async def terminate(self, reason) -> None:
        await self.keys.stop()

    @handles(Put)
    def put(self, message: Put, context: Context) -> None:
        self.keys.tell(message.user_id, message, context)

    def make(self, key: str, state: None) -> Slow:
        return Slow(key)

    def emit(self, actor: LightActor[Any, Context, Any], output: Any, context: Context) -> None:
        if isinstance(output, Ended):
            self._note("end", output.put)
            context.reply(output.put)
        else:
            self._note("begin", output)
            work_s = self.long_s if random.random() < 0.1 else 0.001
            self.node.loop.call_later(work_s, self._done, actor.key, output, context)

    def _done(self, key: str, put: Put, context: Context) -> None:
        self.keys.actors.tell(key, Ended(put), context, bounded=False)

    def _note(self, what: str, put: Put) -> None:
        self._journal.write(f"{what} {put.user_id} {put.number} {self.name}\n")

    def undelivered(self, key: str, message: Any, context: Context, error: BitNexusError) -> None:
        context.fail(error)

    def crashed(self, crash: Crash, context: Context | None) -> None:
        self.log.error("crashed", reason=crash.reason)

    def reported(self, report: ev.Report) -> None:
        self.log.error("reported", kind=report.kind)


class Pourer(Process):
    """A router, as a front is one."""

    async def init(self) -> None:
        self._router = PartitionRouter(
            self.node, self.name, PARTITIONS, lambda message: getattr(message, "user_id", None)
        )
        self._router.start()
        self._stopped = False

    @handles(MoveSlots)
    def move(self, message: MoveSlots, context: Context) -> None:
        self._router.move(message, context)

    @handles(Burst)
    async def burst(self, message: Burst, context: Context) -> Message:
        for number in range(message.first, message.last + 1):
            put = Put(message.user_id, number)
            self.node.request(self._router.of(put.user_id), put, lambda _: None, timeout_s=20, retry=True)
            await asyncio.sleep(0)
        return message

    @handles(Route)
    def route(self, message: Route, context: Context) -> Route:
        return Route(message.key, self._router.of(message.key))

    @handles(Stop)
    def stop_pouring(self, message: Stop, context: Context) -> Message:
        self._stopped = True
        return message

    @handles(Pour)
    async def pour(self, message: Pour, context: Context) -> Poured:
        errors: list[str] = []
        counts = await asyncio.gather(*(self._pour(key, message.window, errors) for key in message.keys))
        return Poured(dict(zip(message.keys, counts, strict=True)), errors)

    async def _pour(self, key: str, window: int, errors: list[str]) -> int:
        free = asyncio.Semaphore(window)
        number = answered = 0

        def on_reply(put: Put, answer: Message | BitNexusError) -> None:
            nonlocal answered
            free.release()
            if answer == put:
                answered += 1
            else:
                errors.append(f"{key} {put.number}: {answer!r}")

        while not self._stopped:
            await free.acquire()
            put = Put(key, number)
            number += 1
            self.node.request(self._router.of(key), put, partial(on_reply, put), timeout_s=20, retry=True)
        for _ in range(window):
            await free.acquire()
        return answered


class AloneOnly(KeyedPartition):
    """Only the first one starts."""

    async def init(self) -> None:
        if not self.name.endswith("-0"):
            raise ValueError("not me")
        await super().init()
