"""Between the ledger's rows in the database and its state in memory."""

from __future__ import annotations

from bitnexus.actors.ledger.accounts import Account
from bitnexus.actors.ledger.block import Block
from bitnexus.actors.ledger.book import InvariantBroken, Subject
from bitnexus.actors.ledger.log import HASH_BYTES, Head, Tree
from bitnexus.storage.ledger_block import Statement, statement_of
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, BlockToWrite, TransferRow


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
        debits_pending=row.debits_pending,
        credits_pending=row.credits_pending,
        credit_limit=row.credit_limit,
        state=row.state,
        opened_seq=row.seq,
        opened_block=row.block,
        opened_us=row.time_us,
        salt=row.salt,
    )


def to_write(block: Block) -> Statement:
    """What writes a decided block."""
    head = block.head
    peaks = b"".join(head.tree.peaks)
    row = BlockRow(head.height, block.before.hash, head.hash, head.tree.size, head.root, peaks, head.time_us)
    timers, stopped = ([], []) if block.plain else _timers(block)
    rows = BlockToWrite(
        row=row,
        plain=block.plain,
        transfers=block.transfers,
        refusals=block.refusals,
        salts=block.salts,
        opened=block.opened,
        totals=block.totals,
        changes=block.changes,
        change_salts=block.change_salts,
        annotations=list(block.annotations.values()),
        annotation_salts=block.annotation_salts,
        nodes=block.nodes,
        timers=timers,
        stopped_timers=stopped,
    )
    return statement_of(rows)


def _timers(block: Block) -> tuple[list[tuple[str, int]], list[str]]:
    """The timers that the block starts, and those of earlier blocks that it stops."""
    started: dict[str, int] = {}
    stopped: list[str] = []
    for transfer, refusal in zip(block.transfers, block.refusals, strict=True):
        if refusal is not None:
            continue
        if transfer.expires_us:
            started[transfer.transfer_id] = transfer.expires_us
        elif transfer.pending_id and started.pop(transfer.pending_id, None) is None:
            stopped.append(transfer.pending_id)
    return list(started.items()), stopped


def subject_of(row: TransferRow) -> Subject:
    """The transfer that others refer to as the book keeps it."""
    return Subject(row.transfer, row.resolution)
