"""Between the ledger's rows in the database and its state in memory."""

from __future__ import annotations

from bitnexus.actors.ledger.accounts import Account
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import InvariantBroken
from bitnexus.actors.ledger.log import HASH_BYTES, Head, Tree
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, BlockToWrite


def head_of(row: BlockRow | None) -> Head:
    """The head as the newest block's row has it; without any block, the empty ledger's.

    Raises:
        InvariantBroken: the tree's peaks in it do not make its root.
    """
    if row is None:
        return Head()
    peaks = tuple(row.peaks[at : at + HASH_BYTES] for at in range(0, len(row.peaks), HASH_BYTES))
    head = Head(row.height, row.hash, Tree(row.tree_size, peaks), row.tree_root, row.time_us)
    if head.tree.root() != row.tree_root:
        raise InvariantBroken(f"block {row.height}: its peaks do not make its root")
    return head


def account_of(row: AccountRow) -> Account:
    """The account as the book keeps it."""
    return Account(
        row.account_id,
        owner_id=row.owner_id,
        asset=row.asset,
        code=row.code,
        flags=row.flags,
        debits_posted=row.debits_posted,
        credits_posted=row.credits_posted,
        opened_seq=row.seq,
        opened_block=row.block,
        opened_us=row.time_us,
        salt=row.salt,
    )


def to_write(block: Block) -> BlockToWrite:
    """What is written of a decided block."""
    head = block.head
    peaks = b"".join(head.tree.peaks)
    row = BlockRow(head.height, block.before.hash, head.hash, head.tree.size, head.root, peaks, head.time_us)
    return BlockToWrite(
        row, block.transfers, block.refusals, block.salts, block.opened, [totals[:3] for totals in block.totals]
    )
