"""One block at a time: decided on what is true, written, and remembered as long as it is not known what became of it.

What is true is the head, and what the database holds; the accounts in memory are a part of it. `writer` has the other
half: whose commands they are, and the connection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from bitnexus import errors
from bitnexus.actors.ledger.ahead import Ahead
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.blocks import decide
from bitnexus.actors.ledger.book import Book, InvariantBroken
from bitnexus.actors.ledger.commands import Item, Recorded, weight
from bitnexus.actors.ledger.expiries import Expiries
from bitnexus.actors.ledger.intake import Intake
from bitnexus.actors.ledger.loading import load
from bitnexus.actors.ledger.log import SALT_BYTES, Head
from bitnexus.actors.ledger.recent import Recent
from bitnexus.actors.ledger.stored import head_of
from bitnexus.storage.ledger_rows import BlockRow
from bitnexus.storage.ledger_writer import HeightTaken, IdTaken, LedgerConnection, OutcomeUnknown

#: How many results are remembered at most, so that a repeated command is answered without asking the database.
RECENT_RESULTS: Final = 32_768
#: How many forms of one block are remembered while their outcome is unknown. An older one that is committed after all
#: looks like another writer's: the writer ends, and starts again from it.
MOST_ATTEMPTS: Final = 16


class Fenced(Exception):
    """Another writer has written to this ledger since its head was read: start again from what is there."""


class Committer:
    """The head of the ledger, what is in memory of it, and how a block comes after it.

    `on_sent` is called when nothing is gained by having those wait any longer who wait for the last block's answers.
    `head` is None until `resume` was called first.
    """

    def __init__(self, intake: Intake, *, balance_cache: int, on_sent: Callable[[], None]) -> None:
        self.head: Head | None = None
        self.expiries = Expiries()
        self._book = Book(balance_cache)
        self.ahead = Ahead(self._book, intake, self.expiries)
        self._recent = Recent(RECENT_RESULTS)
        self._attempts: dict[bytes, Block] = {}
        self._on_sent = on_sent

    @property
    def in_doubt(self) -> bool:
        """Whether a block was sent of which it is not known whether it was committed."""
        return bool(self._attempts)

    def roll_back(self) -> None:
        """As if the block that is being written, and the one decided on top of it, had never been decided."""
        self.ahead.roll_back()

    async def commit(
        self, db: LedgerConnection | None, items: list[Item], looked_up: dict[str, Recorded | None]
    ) -> Block:
        """Decide the commands on what is true, and write the block, which is the head then. `looked_up` is added to.

        Raises:
            DatabaseUnavailable, HeightTaken: the outcome may be unknown: `roll_back`, and `resume` on a new connection.
            InvariantBroken: the ledger must not go on.
        """
        head = self.head
        if db is None or head is None:
            raise errors.DatabaseUnavailable
        now_us = time.time_ns() // 1_000
        block = self.ahead.decided(items, head)
        if block is None:
            self._on_sent()
            if self.expiries.is_due(now_us):
                items = [*items, await self.expiries.due(db, now_us)]
        while True:
            if block is None:
                block = await self._decide(db, head, items, looked_up, now_us)
            unknown = block.guessed
            if not unknown:
                self._book.seal()
                if block.head is head or await self._write(db, block):
                    self._book.commit()
                    self._advance(block)
                    return block
                unknown = block.recorded.keys() - looked_up.keys()
                if not unknown:
                    raise InvariantBroken("an id is taken that was looked up and not there")
            self.roll_back()
            block = None
            found = {
                row.transfer.transfer_id: Recorded(row.transfer, row.refusal) for row in await db.transfers(unknown)
            }
            looked_up.update((id_, found.get(id_)) for id_ in unknown)
            self._recent.add(found)

    async def _decide(
        self,
        db: LedgerConnection,
        head: Head,
        items: list[Item],
        looked_up: dict[str, Recorded | None],
        now_us: int,
    ) -> Block:
        annotated = await load(db, self._book, items)
        return decide(
            self._book,
            head,
            tuple(items),
            recent=self._recent,
            looked_up=looked_up,
            now_us=now_us,
            entropy=os.urandom(SALT_BYTES * sum(weight(command) for command, _ in items)),
            annotated=annotated,
        )

    async def _write(self, db: LedgerConnection, block: Block) -> bool:
        """Write the block; False, and nothing is written, if an id in it is recorded already."""
        attempts, attempt = self._attempts, block.head.hash
        attempts[attempt] = block
        if len(attempts) > MOST_ATTEMPTS:
            del attempts[next(iter(attempts))]
        try:
            await self.ahead.write(db, block, self._recent, self._on_sent)
        except IdTaken as taken:
            del attempts[attempt]
            if attempts:
                # An earlier form of this block, its outcome unknown until now, may be what took the id.
                last = await db.last_block()
                if last is not None and last.height > block.before.height:
                    raise HeightTaken from taken
            return False
        except errors.DatabaseUnavailable as trouble:
            if not isinstance(trouble, OutcomeUnknown):
                del attempts[attempt]
            raise
        return True

    def _advance(self, block: Block) -> None:
        """The block is durable: make it the head."""
        if block.head is not self.head:
            self.head = block.head
            self._attempts.clear()
            self._recent.add(block.recorded)
            if not block.plain:
                self.expiries.committed(block)

    def resume(self, last: BlockRow | None) -> Block | None:
        """Compare the database's head with ours; the block that was in doubt, if it is there: it is the head then.

        Raises:
            Fenced: it is neither.
        """
        found = head_of(last)
        if self.head is None:
            self.head = found
        elif found.hash in self._attempts:
            # The balances in memory are those before that block; they are loaded again as they are needed.
            self._book.clear()
            block = self._attempts[found.hash]
            self._advance(block)
            return block
        elif found != self.head:
            raise Fenced(f"the last block is {found.height}, and not the one written here at {self.head.height}")
        return None
