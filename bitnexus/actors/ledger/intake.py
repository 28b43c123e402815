"""The commands that wait for the next block: bounded, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque

from bitnexus import errors
from bitnexus.actors.ledger.commands import Caller, Command, Item, check_syntax


class Intake:
    """A queue of at most `max_waiting` commands, emptied by blocks of at most `max_block`."""

    def __init__(self, *, max_block: int, max_waiting: int) -> None:
        self._max_block = max_block
        self._max_waiting = max_waiting
        self._waiting: deque[Item] = deque()
        self._arrival = asyncio.Event()
        self.stopping = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, command: Command, caller: Caller) -> None:
        """Let a command wait.

        Raises:
            BadRequest, Overloaded: it does not wait, and has no effect.
        """
        if self.stopping:
            raise errors.Overloaded("The ledger is shutting down.")
        if len(self._waiting) >= self._max_waiting:
            raise errors.Overloaded("Too many commands wait for the ledger.")
        check_syntax(command)
        self._waiting.append(Item(command, caller))
        if not self._arrival.is_set():
            self._arrival.set()

    def stop(self) -> None:
        """Take no more."""
        self.stopping = True
        self._arrival.set()

    async def take(self) -> list[Item]:
        """The next block's commands, from callers who still wait for the answer; none only after `stop`."""
        while True:
            await self._arrival.wait()
            items = self._gather()
            if items or self.stopping:
                return items

    def refuse(self, error: errors.BitNexusError) -> None:
        """Answer all that wait with an error."""
        refused, self._waiting = self._waiting, deque()
        for item in refused:
            item.caller.fail(error)

    def _gather(self) -> list[Item]:
        waiting = self._waiting
        items: list[Item] = []
        while waiting and len(items) < self._max_block:
            item = waiting.popleft()
            if item.caller.expired:
                item.caller.fail(errors.CallTimeout("The deadline passed before the command was begun."))
            else:
                items.append(item)
        if not waiting and not self.stopping:
            self._arrival.clear()
        return items
