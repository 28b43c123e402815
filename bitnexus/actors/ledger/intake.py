"""The commands that wait for the next block: bounded, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque

from bitnexus import errors
from bitnexus.actors.ledger.commands import Caller, Command, Item, check_syntax, weight


class Intake:
    """A queue of commands for at most `max_waiting` events, emptied by blocks of at most `max_block`.

    A batch larger than either waits alone, and makes a block of its own.
    """

    def __init__(self, *, max_block: int, max_waiting: int) -> None:
        self.max_block = max_block
        self._max_waiting = max_waiting
        self._waiting: deque[Item] = deque()
        self._events = 0
        self._arrival = asyncio.Event()
        self.stopping = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def events(self) -> int:
        """For how many events of blocks commands wait."""
        return self._events

    def put(self, command: Command, caller: Caller) -> None:
        """Let a command wait.

        Raises:
            BadRequest, Overloaded: it does not wait, and has no effect.
        """
        if self.stopping:
            raise errors.Overloaded("The ledger is shutting down.")
        events = weight(command)
        if self._events and self._events + events > self._max_waiting:
            raise errors.Overloaded("Too many commands wait for the ledger.")
        check_syntax(command)
        self._events += events
        self._waiting.append(Item(command, caller))
        if not self._arrival.is_set():
            self._arrival.set()

    def stop(self) -> None:
        """Take no more."""
        self.stopping = True
        self._arrival.set()

    async def take(self, timeout_s: float | None = None) -> list[Item]:
        """The next block's commands, from callers who still wait for the answer; none after `timeout_s` or `stop`."""
        while True:
            if not self._arrival.is_set():
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._arrival.wait()
                except TimeoutError:
                    return []
            items = self.gather()
            if items or self.stopping:
                return items

    def refuse(self, error: errors.BitNexusError) -> None:
        """Answer all that wait with an error."""
        refused, self._waiting, self._events = self._waiting, deque(), 0
        for item in refused:
            item.caller.fail(error)

    def gather(self) -> list[Item]:
        """The next block's commands, of those that wait now; callers who have given up are told."""
        waiting = self._waiting
        items: list[Item] = []
        left = self.max_block
        while waiting and left > 0:
            events = weight(waiting[0].command)
            if events > left and items:
                break
            left -= events
            self._events -= events
            item = waiting.popleft()
            if item.caller.expired:
                item.caller.fail(errors.CallTimeout("The deadline passed before the command was begun."))
            else:
                items.append(item)
        if not waiting and not self.stopping:
            self._arrival.clear()
        return items
