"""The next block, decided and made a statement while the last one is being written.

PostgreSQL and the ledger would else work in turns, each waiting for the other. It is worth it for large blocks; small
ones are decided sooner than anything can be gathered for them. The decision stands on the block that is being written:
should that one fail, it is void, and the same commands are decided again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final

from bitnexus import errors
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.blocks import decide
from bitnexus.actors.ledger.book import Book
from bitnexus.actors.ledger.commands import Item, weight
from bitnexus.actors.ledger.intake import Intake
from bitnexus.actors.ledger.loading import needs_nothing
from bitnexus.actors.ledger.log import SALT_BYTES, Head
from bitnexus.actors.ledger.recent import Recent
from bitnexus.actors.ledger.stored import to_write
from bitnexus.storage.ledger_block import Statement
from bitnexus.storage.ledger_writer import LedgerConnection

#: Events of a block from which on the next one is decided ahead.
LARGE: Final = 512
#: How often it is looked whether enough is waiting, and the statement has left: deciding would keep it from being sent.
LOOK_S: Final = 0.001


class Ahead:
    """Commands taken for the next block, and the block if they have been decided."""

    def __init__(self, book: Book, intake: Intake) -> None:
        self.items: list[Item] = []
        self.used = 0  # blocks that were decided ahead, and needed not be decided again
        self._book = book
        self._intake = intake
        self._block: Block | None = None
        self._statement: Statement | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a block that can be written as soon as the last one is durable."""
        return self._block is not None

    def take(self) -> list[Item]:
        """The commands, which are the writer's now."""
        items, self.items = self.items, []
        return items

    def decided(self, items: list[Item], head: Head) -> Block | None:
        """The block if it is of these commands, and stands on this head; it is asked for once."""
        block, self._block = self._block, None
        if block is None or block.items != tuple(items) or block.before is not head:
            self._statement = None
            return None
        self.used += 1
        return block

    def roll_back(self) -> None:
        """The block that is being written was not written: nothing that stands on it holds."""
        self._book.rollback()
        self._block = self._statement = None

    def refuse(self, error: errors.BitNexusError) -> None:
        """Answer all that wait with an error; nothing of theirs was ever sent."""
        for item in self.take():
            item.caller.fail(error)

    async def write(self, db: LedgerConnection, block: Block, recent: Recent, on_sent: Callable[[], None]) -> None:
        """Write a block; when as much waits as is in it, if it is a large one, decide the next one meanwhile.

        `on_sent` is called once in any case, as soon as what it does keeps nothing from being written.
        Raises what `LedgerConnection.write` does.
        """
        statement, self._statement = self._statement or to_write(block), None
        events = len(block.leaves)
        if events < LARGE:
            on_sent()
            await db.write(statement)
            return
        writing = asyncio.ensure_future(db.write(statement))
        try:
            has_sent = False
            while not (await asyncio.wait((writing,), timeout=LOOK_S))[0]:
                if not has_sent and db.has_sent:
                    has_sent = True
                    on_sent()
                elif has_sent and not self.items and self._intake.events >= min(events, self._intake.max_block):
                    self._decide(block, recent)
            if not has_sent:
                on_sent()
            await writing
        finally:
            writing.cancel()

    def _decide(self, last: Block, recent: Recent) -> None:
        self.items = self._intake.gather()
        if not needs_nothing(self._book, self.items):
            return
        block = decide(
            self._book,
            last.head,
            tuple(self.items),
            recent=recent,
            looked_up=last.recorded,
            now_us=time.time_ns() // 1_000,
            entropy=os.urandom(SALT_BYTES * sum(weight(command) for command, _ in self.items)),
        )
        if block.guessed:
            self._book.drop()  # ids must be looked up first
        else:
            self._block, self._statement = block, to_write(block)
