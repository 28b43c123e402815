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
from bitnexus.actors.ledger.expiries import Expiries
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
#: How long a statement may take to leave before those who wait for the last block's answers are told all the same.
LEAVES_WITHIN_S: Final = 0.05


class Ahead:
    """Commands taken for the next block, and the block if they have been decided."""

    def __init__(self, book: Book, intake: Intake, expiries: Expiries) -> None:
        self.items: list[Item] = []
        self.used = 0  # blocks that were decided ahead, and needed not be decided again
        self._book = book
        self._intake = intake
        self._expiries = expiries
        self._block: Block | None = None
        self._statement: tuple[Block, Statement] | None = None

    def take(self) -> list[Item]:
        """The commands, which are the writer's now."""
        items, self.items = self.items, []
        return items

    def decided(self, items: list[Item], head: Head) -> Block | None:
        """The block if it is of these commands, and stands on this head; it is asked for once."""
        block, self._block = self._block, None
        if block is None or block.items != tuple(items) or block.before is not head:
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

        `on_sent` is called once in any case: as soon as the statement has left, or should have.
        Raises what `LedgerConnection.write` does.
        """
        made, self._statement = self._statement, None
        statement = made[1] if made is not None and made[0] is block else to_write(block)
        events = len(block.leaves)
        if events < LARGE:
            on_sent()
            await db.write(statement)
            return
        writing = asyncio.ensure_future(db.write(statement))
        try:
            told, give_up_at = False, time.monotonic() + LEAVES_WITHIN_S
            while not (await asyncio.wait((writing,), timeout=LOOK_S))[0]:
                if not told:
                    told = db.has_sent or time.monotonic() > give_up_at
                    if told:
                        on_sent()
                elif self._is_worth_it(events) and db.has_sent:
                    self._decide(block, recent)
            if not told:
                on_sent()
            await writing
        finally:
            writing.cancel()

    def _is_worth_it(self, events: int) -> bool:
        """Whether the block after one of so many events should be decided now. What is to expire goes before it."""
        enough = self._intake.events >= min(events, self._intake.max_block)
        return enough and not self.items and not self._expiries.is_due(time.time_ns() // 1_000)

    def _decide(self, last: Block, recent: Recent) -> None:
        self.items = self._intake.gather()
        if not self.items or not needs_nothing(self._book, self.items):
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
            self._block, self._statement = block, (block, to_write(block))
