"""The fronts' exchange of presences: each tells each of the others what it holds, until it was heard."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from bitnexus.actors.runtime.message import ProcessInfo
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import NoProcess, Overloaded, ProcessDown, RuntimeFault
from bitnexus.http.channels.hub import Spawn
from bitnexus.http.channels.operators.messages import Presence, PresencesHeld
from bitnexus.http.channels.operators.presences import Difference, Presences

#: At one front; operators are few.
MAX_PRESENCES: Final = 1_000
TIMEOUT_S: Final = 2.0
RETRY_S: Final = 0.5

log = structlog.get_logger(__name__)


class Exchange:
    """`others` are the names of the other fronts, `life` is this process's instance.

    `publish` tells this front's readers of a difference.
    """

    def __init__(  # noqa: PLR0917 - what it is made of
        self,
        node: Node,
        front: str,
        life: str,
        others: Iterable[str],
        spawn: Spawn,
        publish: Callable[[Difference], None],
    ) -> None:
        self._node = node
        self._front = front
        self._life = life
        self._others = tuple(others)
        self._spawn = spawn
        self._publish = publish
        self._presences = Presences()
        self._owed: set[str] = set()  # fronts that have not heard of the newest change
        self._telling: set[str] = set()  # those that are being told

    def start(self) -> None:
        """Follow the other fronts' deaths and births from now on."""
        for name in self._others:
            self._node.monitor(name, on_up=self._up, on_down=self._down)

    def state(self, topic: str) -> dict[str, object]:
        """Who is present in a topic, as `presence_state` has it."""
        return self._presences.state(topic)

    def join(self, topic: str, key: str) -> str:
        """Somebody has joined a topic here; the ref to leave by. Raises Overloaded."""
        if len(self._presences.own) >= MAX_PRESENCES:
            raise Overloaded("Too many operators are connected to this front")
        presence = Presence(topic, key, secrets.token_urlsafe(12), int(time.time()), self._front)
        self._changed(self._presences.join(presence))
        return presence.ref

    def leave(self, ref: str) -> None:
        """They have left."""
        self._changed(self._presences.leave(ref))

    def told(self, message: PresencesHeld) -> None:
        """Another front holds these."""
        for difference in self._presences.told(message.front, message.life, message.presences):
            self._publish(difference)

    def _changed(self, difference: Difference) -> None:
        self._publish(difference)
        for name in self._others:
            self._tell(name)

    def _up(self, info: ProcessInfo) -> None:
        self._tell(info.name)

    def _down(self, info: ProcessInfo) -> None:
        for difference in self._presences.gone(info.name, info.instance):
            self._publish(difference)

    def _tell(self, name: str) -> None:
        self._owed.add(name)
        if name not in self._telling and self._node.whereis(name) is not None:
            self._telling.add(name)
            self._spawn(self._tell_until_heard(name))

    async def _tell_until_heard(self, name: str) -> None:
        """Ends when the front knows all, or is gone: its successor is told when it comes up."""
        try:
            while name in self._owed:
                self._owed.discard(name)
                held = PresencesHeld(self._front, self._life, self._presences.own)
                try:
                    await self._node.call(name, held, timeout_s=TIMEOUT_S)
                except (NoProcess, ProcessDown):
                    if self._node.whereis(name) is None:
                        return
                    self._owed.add(name)  # a successor is up already
                except RuntimeFault as error:
                    log.warning("presences_not_told", front=name, error=error.code)
                    self._owed.add(name)
                    await asyncio.sleep(RETRY_S)
        finally:
            self._telling.discard(name)
