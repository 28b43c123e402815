"""When pending transfers are over: how long the writer may wait, and the command that writes what is due."""

from __future__ import annotations

import time
from typing import Final

from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.commands import ExpirePending, Item
from bitnexus.actors.ledger.loading import Sweeper
from bitnexus.storage.ledger_writer import LedgerConnection

#: Most expiries that are written with one block.
SWEEP: Final = 1_000
#: The clock may be set: how long an expiry is waited for before it is looked at again.
LONGEST_WAIT_S: Final = 60.0


class Expiries:
    """`next_us` is when the first one is due, in µs since 1970, as far as is known; None if none will be."""

    def __init__(self) -> None:
        self.next_us: int | None = None

    def is_due(self, now_us: int) -> bool:
        """Whether there is something to write."""
        return self.next_us is not None and self.next_us <= now_us

    def until_s(self) -> float | None:
        """How long it is until one is to be looked at; None: for ever."""
        if self.next_us is None:
            return None
        return min(max(self.next_us / 1e6 - time.time(), 0.0), LONGEST_WAIT_S)

    async def due(self, db: LedgerConnection, now_us: int) -> Item:
        """The command to write those that are due, at most `SWEEP` of them."""
        ids = await db.expired(now_us, limit=SWEEP)
        self.next_us = now_us if len(ids) == SWEEP else await db.next_expiry_us(now_us)
        return Item(ExpirePending(tuple(ids)), Sweeper())

    def committed(self, block: Block) -> None:
        """The block may have begun some."""
        begun = [each.transfer.expires_us for each in block.recorded.values() if each.refusal is None]
        first = min(filter(None, begun), default=None)
        if first is not None:
            self.next_us = first if self.next_us is None else min(first, self.next_us)
