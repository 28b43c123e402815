"""Actors on Thespian's own interface: the same for its stock base and for ours."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from thespian.actors import Actor, ActorAddress, ActorExitRequest


@dataclass
class Go:
    """Exchange with `other` for `seconds`: keep `window` messages without answer. Answered by the Stop's result."""

    other: Any
    seconds: float
    window: int = 1
    burst: int = 1  # messages in one go, of which the last one is answered
    items: int = 0  # in every message
    times: list[float] = field(default_factory=list)  # of round trips, when the window is 1
    done: int = 0


@dataclass
class Ping:
    """A message; `answer` says whether it is to be answered."""

    items: list[tuple[str, str, int]]
    answer: bool = True


@dataclass
class Pong:
    """The answer."""

    items: list[int]


@dataclass
class StartMany:
    """Start this many actors, answer when each has answered; then end them."""

    count: int


class Peer(Actor):  # type: ignore[misc]  # Thespian has no type hints
    """Answers pings, and exchanges them with another one when told to."""

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802
        """As Thespian calls it."""
        if isinstance(message, Ping):
            if message.answer:
                self.send(sender, Pong([amount for _, _, amount in message.items]))
        elif isinstance(message, Pong):
            self._answered()
        elif isinstance(message, Go):
            self._go, self._asker = message, sender
            self._began_at = time.perf_counter()
            self._sent_at = self._began_at
            self._items = [("debit", "credit", number) for number in range(message.items)]
            for _ in range(message.window):
                self._burst()

    def _burst(self) -> None:
        go = self._go
        for _ in range(go.burst - 1):
            self.send(go.other, Ping(self._items, answer=False))
        self.send(go.other, Ping(self._items))

    def _answered(self) -> None:
        go, now = self._go, time.perf_counter()
        go.done += go.burst
        if go.window == 1:
            go.times.append(now - self._sent_at)
            self._sent_at = now
        spent_s = now - self._began_at
        if self._asker is None:
            return
        if spent_s > go.seconds:
            self.send(self._asker, (go.done / spent_s, go.times))
            self._asker = None
        else:
            self._burst()


class Parent(Actor):  # type: ignore[misc]  # Thespian has no type hints
    """Starts many and ends them."""

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802
        """As Thespian calls it."""
        if isinstance(message, StartMany):
            self._asker, self._left = sender, message.count
            self._children = [self.createActor(Peer) for _ in range(message.count)]
            for child in self._children:
                self.send(child, Ping([]))
        elif isinstance(message, Pong):
            self._left -= 1
            if not self._left:
                self.send(self._asker, "started")
        elif message == "stop":
            self._asker, self._left = sender, len(self._children)
            for child in self._children:
                self.send(child, ActorExitRequest())
        elif type(message).__name__ == "ChildActorExited":
            self._left -= 1
            if not self._left:
                self.send(self._asker, "stopped")
