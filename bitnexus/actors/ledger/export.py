"""Exports the ledger that is stored: the lines of `export_lines`, in one pass, a page in memory at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final

from bitnexus.actors.ledger.audit import Progress, check_place
from bitnexus.actors.ledger.export_lines import (
    FORMAT,
    VERSION,
    BlockLine,
    EndLine,
    Line,
    StartLine,
    encode,
    line_of,
    line_of_totals,
)
from bitnexus.actors.ledger.verification import stored_blocks, stored_totals
from bitnexus.storage.ledger import Executor, last_block

#: How many lines are gathered, about, before they are handed on.
PIECE: Final = 1_000


async def export_lines(
    db: Executor, *, key: str | None, checkpoint: str | None, progress: Progress = lambda _done, _of: None
) -> AsyncIterator[bytes]:
    """The lines of the whole ledger, many at a time.

    Args:
        db: in one REPEATABLE READ transaction, so that a ledger at work is seen at one moment.
        key: the verifier key of the checkpoint.
        checkpoint: the last one that was signed before that moment; None, and no key, if none was.
        progress: told how many events have been done, and of how many.

    Raises:
        Wrong: a block or an event is missing, there twice, or stored as of another block. Other faults are exported as
            they are stored.
        DatabaseUnavailable: by the connection's owner.
    """
    last = await last_block(db)
    blocks, events = (0, 0) if last is None else (last.height, last.tree_size)
    pieces = _Pieces()
    pieces.add(StartLine(FORMAT, VERSION, blocks, events, key, checkpoint))
    async for block, present in stored_blocks(db):
        row = (block.height, block.prev_hash, block.hash, block.tree_size, block.tree_root, block.time_us)
        pieces.add(BlockLine(*row))
        for seq, event in enumerate(present, block.tree_size - len(present)):
            check_place(event, seq, block.height, block.time_us)  # its line does not repeat it
            pieces.add(line_of(event))
        progress(block.tree_size, events)
        if len(pieces.waiting) > PIECE:
            yield pieces.take()
    accounts = 0
    async for account_id, totals in stored_totals(db):
        pieces.add(line_of_totals(account_id, totals))
        accounts += 1
        if len(pieces.waiting) > PIECE:
            yield pieces.take()
    yield pieces.take()
    pieces.add(EndLine(blocks, events, accounts, pieces.lines, pieces.digest.hexdigest()))
    yield pieces.take()


class _Pieces:
    """Gathers lines."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.lines = 0
        #: Of the lines that were taken.
        self.digest = sha256()

    def add(self, line: Line) -> None:
        """One more."""
        self.waiting.append(encode(line))
        self.lines += 1

    def take(self) -> bytes:
        """Those that wait, joined."""
        piece = b"".join(self.waiting)
        self.waiting.clear()
        self.digest.update(piece)
        return piece
