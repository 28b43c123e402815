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
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.runtime.reasons import NORMAL, ExitReason
from bitnexus.errors import NotFound


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


class Large(Message, frozen=True, tag="test.Large/1"):
    """Answer with as many bytes."""

    size: int


class Nobody(Message, frozen=True, tag="test.Nobody/1"):
    """No process takes it."""


class Worker(Process):
    """Args: journal (a path); init: what happens at the start; terminate: what happens at the end."""

    async def init(self) -> None:
        self.held: list[Context] = []
        self.write(f"init {self.name}")
        match self.args.get("init"):
            case "raise":
                raise ValueError("cannot start")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "wait":
                await asyncio.sleep(3600)
            case "fail once" if self.is_first_time():
                raise ValueError("cannot start yet")

    async def terminate(self, reason: ExitReason) -> None:
        self.write(f"terminate {self.name}: {reason}")
        if self.args.get("terminate") == "hang":
            await asyncio.sleep(3600)
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
        self.held.append(context)

    @handles(Relay)
    async def relay(self, message: Relay, context: Context) -> Message:
        return await self.node.call(message.to, Hold(), timeout_s=60)

    @handles(Large)
    def large(self, message: Large, context: Context) -> Write:
        return Write("x" * message.size)

    @handles(Do)
    def do(self, message: Do, context: Context) -> Message | None:  # noqa: C901 - a table
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
            case "segfault":
                ctypes.string_at(0)
            case "answer twice":
                context.reply(Done())
                context.reply(Done())
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
