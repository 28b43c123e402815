"""Processes that do as they are told, and the messages that tell them.

Each writes its life and deeds to the file `journal`, one line each, in the order in which they happened.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from pathlib import Path

from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.message import Done, Message
from bitnexus.actors.runtime.process import Ignore, Process, handles
from bitnexus.actors.runtime.reasons import NORMAL, SHUTDOWN, ExitReason
from bitnexus.errors import CallTimeout, NotFound


class Ping(Message, frozen=True, tag="test.Ping/1"):
    number: int = 0


class Pong(Message, frozen=True, tag="test.Pong/1"):
    number: int
    pid: int


class Write(Message, frozen=True, tag="test.Write/1"):
    """Write this to the journal."""

    text: str


class Do(Message, frozen=True, tag="test.Do/1"):
    """Come to this end; see Worker.do."""

    what: str


class Hold(Message, frozen=True, tag="test.Hold/1"):
    """Never answered."""


class Relay(Message, frozen=True, tag="test.Relay/1"):
    """Pass a Hold on to `to` and wait for its answer."""

    to: str


class Queue(Message, frozen=True, tag="test.Queue/1"):
    """Wait in a queue; begun, and answered, when a Release comes, if somebody still waits for it."""

    text: str


class Release(Message, frozen=True, tag="test.Release/1"):
    """Begin what waits in the queue."""


class Say(Message, frozen=True, tag="test.Say/1"):
    """Log so many lines of so many bytes, then come to an end (see Worker.do) or not."""

    lines: int
    size: int
    then: str = ""


class Large(Message, frozen=True, tag="test.Large/1"):
    """Answer with as many bytes."""

    size: int


class Nobody(Message, frozen=True, tag="test.Nobody/1"):
    """No process takes it."""


class Worker(Process):
    """Args: journal (a path); init: what happens at the start; terminate: what happens at the end."""

    async def init(self) -> None:  # noqa: C901, PLR0912 - a table
        self.queue: list[tuple[Queue, Context]] = []
        self.write(f"init {self.name}")
        match self.args.get("init"):
            case "ignore":
                raise Ignore
            case "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            case "wait for file":
                await self.until_file()
            case "wait for file again" if not self.is_first_time():
                await self.until_file()
            case "fail again" if not self.is_first_time():
                raise ValueError("cannot start again")
            case "fail second" if self.times() == 2:
                raise ValueError("cannot start now")
            case "raise":
                raise ValueError("cannot start")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "wait":
                await asyncio.sleep(3600)
            case "hang again" if not self.is_first_time():
                await asyncio.sleep(0.5)  # it has given a sign of life by then
                if self.times() == 2:
                    os.kill(os.getpid(), signal.SIGSTOP)
            case "fail once" if self.is_first_time():
                raise ValueError("cannot start yet")

    async def terminate(self, reason: ExitReason) -> None:
        self.write(f"terminate {self.name}: {reason}")
        if self.args.get("terminate") == "hang":
            await asyncio.sleep(3600)
        if self.args.get("terminate") == "wait for file":
            await self.until_file()
        if self.args.get("terminate") == "block":
            time.sleep(3600)  # noqa: ASYNC251 - as told
        if self.args.get("terminate") == "exit":
            os._exit(3)
        if self.args.get("terminate") == "raise":
            raise ValueError("cannot stop")
        await asyncio.sleep(0.01)
        self.write(f"terminated {self.name}")

    def is_first_time(self) -> bool:
        try:
            Path(f"{self.args['journal']}.{self.name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def times(self) -> int:
        """How often it was started, this time included."""
        with Path(self.args["journal"]).open(encoding="utf-8") as journal:
            return sum(line == f"init {self.name}\n" for line in journal)

    async def until_file(self) -> None:
        """Wait until the test makes it: a start that takes as long as is wanted."""
        go = Path(f"{self.args['journal']}.go")
        while not go.exists():  # noqa: ASYNC240 - it is looked for now and then
            await asyncio.sleep(0.005)

    def write(self, line: str) -> None:
        with Path(self.args["journal"]).open("a", encoding="utf-8") as journal:
            journal.write(line + "\n")

    @handles(Ping)
    def ping(self, message: Ping, context: Context) -> Pong:
        return Pong(message.number, os.getpid())

    @handles(Write)
    def written(self, message: Write, context: Context) -> Done:
        self.write(message.text)
        return Done()

    @handles(Hold)
    def hold(self, message: Hold, context: Context) -> None:
        # Whom nobody waits for need not be held: they would count in the mailbox for ever.
        self.node.loop.call_later(context.remaining_s + 0.05, context.fail, CallTimeout())

    @handles(Queue)
    def enqueue(self, message: Queue, context: Context) -> None:
        self.queue.append((message, context))

    @handles(Release)
    def release(self, message: Release, context: Context) -> Done:
        waiting, self.queue = self.queue, []
        for queued, asker in waiting:
            if not asker.expired:
                self.write(f"began {queued.text}")
                asker.reply(Done())
        return Done()

    @handles(Say)
    def say(self, message: Say, context: Context) -> Message | None:
        for number in range(message.lines):
            self.log.warning("said", number=number, lines=[str(number) * 100] * (message.size // 100))
        return self.do(Do(message.then), context) or Done()

    @handles(Relay)
    async def relay(self, message: Relay, context: Context) -> Message:
        return await self.node.call(message.to, Hold(), timeout_s=60)

    @handles(Large)
    def large(self, message: Large, context: Context) -> Write:
        return Write("x" * message.size)

    @handles(Do)
    def do(self, message: Do, context: Context) -> Message | None:  # noqa: C901, PLR0912 - a table
        match message.what:
            case "raise":
                raise ValueError("told to")
            case "raise in task":
                self.spawn(self._fail())
            case "raise in callback":
                self.node.loop.call_soon(self._fail_now)
            case "raise in monitor":
                self.node.monitor(self.name, on_up=lambda _: self._fail_now())
            case "raise in reply":
                self.node.request(self.name, Ping(), lambda _: self._fail_now())
            case "refuse":
                raise NotFound("there is no such thing")
            case "exit":
                os._exit(3)
            case "end":
                self.stop(NORMAL)
            case "shut down":
                self.stop(SHUTDOWN)
            case "segfault":
                ctypes.string_at(0)
            case "answer twice":
                context.reply(Done())
                context.reply(Done())
            case "grow":
                self.grown = b"x" * 200_000_000
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "block":
                time.sleep(3600)
        return None

    async def _fail(self) -> None:
        self._fail_now()

    def _fail_now(self) -> None:
        raise ValueError("told to")


class Stubborn(Worker):
    """Overrides a handler of its base without naming the message again."""

    def ping(self, message: Ping, context: Context) -> Pong:
        return Pong(-message.number, os.getpid())
