"""Verifies the ledger that is stored in a database: reads it page by page, has `audit` recompute it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bitnexus.actors.ledger.audit import Audit, Change, Event, Opening, Posting, Wrong
from bitnexus.actors.ledger.checkpoint import Checkpoint
from bitnexus.actors.ledger.stored import account_of
from bitnexus.storage import ledger_tree
from bitnexus.storage.ledger import Executor
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, TransferRow

#: Blocks, and events, read at a time; a block is at most as large as its setting.
BLOCKS: Final = 1_000
EVENTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in order."""

    blocks: int
    events: int
    accounts: int
    root: bytes


async def verify(db: Executor, signed: Checkpoint | None = None) -> Verified:
    """Recompute everything that is stored; `signed`, if given, is a checkpoint that the tree must extend.

    `db` should be in one REPEATABLE READ transaction, so that a ledger at work is seen at one moment.

    Raises:
        Wrong: the first place that is wrong.
        DatabaseUnavailable: by the connection's owner.
    """
    audit = Audit()
    events: dict[int, Event] = {}
    read_to = 0
    while blocks := await ledger_tree.blocks_after(db, audit.head.height, limit=BLOCKS):
        for block in blocks:
            if block.height != audit.head.height + 1:
                raise Wrong(f"block {audit.head.height + 1} is missing")
            if not 0 < block.tree_size - audit.events <= 10 * 65_536:
                raise Wrong(f"block {block.height} says that it ends at event {block.tree_size}")
            while read_to < block.tree_size:
                for seq, event in _events(await ledger_tree.events_between(db, read_to, read_to + EVENTS)):
                    if events.setdefault(seq, event) is not event:
                        raise Wrong(f"event {seq} is stored twice")
                read_to += EVENTS
            await _feed(audit, block, events)
            if signed is not None and audit.head.tree.size == signed.size and audit.head.root != signed.root:
                raise Wrong(f"the tree of {signed.size} events is not the one that was signed")
    await _after(db, audit, signed)
    return Verified(audit.head.height, audit.events, len(audit.stored), audit.head.root)


async def _feed(audit: Audit, block: BlockRow, events: dict[int, Event]) -> None:
    present: list[Event] = []
    for seq in range(audit.events, block.tree_size):
        event = events.pop(seq, None)
        if event is None:
            raise Wrong(f"event {seq} is missing")
        present.append(event)
    audit.block(
        block.height,
        block.prev_hash,
        block.hash,
        block.tree_root,
        time_us=block.time_us,
        peaks=block.peaks,
        events=present,
    )


async def _after(db: Executor, audit: Audit, signed: Checkpoint | None) -> None:
    """What can only be compared at the end."""
    size = audit.head.tree.size
    beyond = await ledger_tree.first_event_from(db, size)
    if beyond is not None:
        raise Wrong(f"event {beyond} is in no block")
    if signed is not None and signed.size > size:
        raise Wrong(f"event {size} is missing: a tree of {signed.size} events was signed")
    if signed is not None and signed.size and not await ledger_tree.is_block_end(db, signed.size):
        raise Wrong(f"no block ends at event {signed.size}, where a tree was signed")
    audit.end()
    kept = await ledger_tree.all_nodes(db)
    expected = {(node.level, node.number): node.hash for node in audit.nodes}
    for place in sorted(kept.keys() | expected.keys()):
        if kept.get(place) != expected.get(place):
            raise Wrong(f"node {place[1]} of level {place[0]} is not that of the tree")
    timers = await ledger_tree.all_timers(db)
    running = {id_: transfer.expires_us for id_, transfer in audit.pending.items() if transfer.expires_us}
    for id_ in sorted(timers.keys() | running.keys()):
        if timers.get(id_) != running.get(id_):
            raise Wrong(f"the timer of the pending transfer {id_} is not that of its event")


def _events(rows: list[TransferRow | AccountRow | ledger_tree.ChangeRow]) -> Iterator[tuple[int, Event]]:
    for row in rows:
        if isinstance(row, TransferRow):
            yield row.transfer.seq, Posting(row.transfer, row.refusal, row.salt)
        elif isinstance(row, AccountRow):
            yield row.seq, Opening(account_of(row))
        else:
            yield row.event.seq, Change(row.event, row.salt)
