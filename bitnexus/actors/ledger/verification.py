"""The ledger that is stored in a database, block by block; and its verification: `audit` recomputes all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from bitnexus.actors.ledger.accounts import Totals
from bitnexus.actors.ledger.audit import (
    Annotation,
    Audit,
    Change,
    Event,
    Opening,
    Posting,
    Progress,
    Verified,
    Wrong,
    events_of_next,
)
from bitnexus.actors.ledger.checkpoint import Checkpoint
from bitnexus.actors.ledger.log import Node
from bitnexus.actors.ledger.stored import account_of
from bitnexus.storage import ledger_tree
from bitnexus.storage.ledger import Executor, last_block
from bitnexus.storage.ledger_rows import AccountRow, BlockRow, TransferRow

#: Blocks, events and accounts read at a time; a block is at most as large as its setting.
BLOCKS: Final = 1_000
EVENTS: Final = 10_000
ACCOUNTS: Final = 10_000


async def verify(db: Executor, *signed: Checkpoint, progress: Progress = lambda _done, _of: None) -> Verified:
    """Recompute everything that is stored; `signed` are checkpoints that the tree must extend.

    `db` should be in one REPEATABLE READ transaction, so that a ledger at work is seen at one moment.

    Raises:
        Wrong: the first place that is wrong.
        DatabaseUnavailable: by the connection's owner.
    """
    last = await last_block(db)
    of = 0 if last is None else last.tree_size
    nodes: list[Node] = []
    audit = Audit(signed, nodes)
    async for block, events in stored_blocks(db):
        audit.block(
            block.height,
            block.prev_hash,
            block.hash,
            block.tree_root,
            time_us=block.time_us,
            peaks=block.peaks,
            events=events,
        )
        if len(nodes) > BLOCKS:
            await _compare_nodes(db, nodes)
        progress(audit.events, of)
    await _compare_nodes(db, nodes)
    beyond = await ledger_tree.first_event_from(db, audit.events)
    if beyond is not None:
        raise Wrong(f"event {beyond} is in no block")
    async for account_id, totals in stored_totals(db):
        audit.totals(account_id, totals)
    found = audit.end()
    surplus = await ledger_tree.surplus_node(db, audit.events)
    if surplus is not None:
        raise Wrong(f"node {surplus[1]} of level {surplus[0]} is not that of the tree")
    await _compare_timers(db, audit)
    return found


async def stored_blocks(db: Executor) -> AsyncIterator[tuple[BlockRow, list[Event]]]:
    """Every block with its events, in order, a page in memory at a time; `db` is as for `verify`.

    Raises:
        Wrong: a block or an event is missing, or there twice.
    """
    events: dict[int, Event] = {}
    read_to = height = size = 0
    while blocks := await ledger_tree.blocks_after(db, height, limit=BLOCKS):
        for block in blocks:
            events_of_next(block.height, block.tree_size, after_height=height, after_size=size)
            while read_to < block.tree_size:
                for seq, event in _events(await ledger_tree.events_between(db, read_to, read_to + EVENTS)):
                    if events.setdefault(seq, event) is not event:
                        raise Wrong(f"event {seq} is stored twice")
                read_to += EVENTS
            missing = next((seq for seq in range(size, block.tree_size) if seq not in events), None)
            if missing is not None:
                raise Wrong(f"event {missing} is missing")
            yield block, [events.pop(seq) for seq in range(size, block.tree_size)]
            height, size = block.height, block.tree_size


async def stored_totals(db: Executor) -> AsyncIterator[tuple[str, Totals]]:
    """Id, totals and state of every account, in the order in which they were opened."""
    after = -1
    while rows := await ledger_tree.accounts_after(db, after, limit=ACCOUNTS):
        for row in rows:
            yield row.account_id, account_of(row).totals
        after = rows[-1].seq


async def _compare_nodes(db: Executor, nodes: list[Node]) -> None:
    """Compare the tree's nodes, in the order in which they came, with those that are kept; and forget them."""
    for level in sorted({node.level for node in nodes}):
        of_level = {node.number: node.hash for node in nodes if node.level == level}
        kept = await ledger_tree.nodes_between(db, level, min(of_level), max(of_level) + 1)
        for number, hash_ in of_level.items():
            if kept.get(number) != hash_:
                raise Wrong(f"node {number} of level {level} is not that of the tree")
    nodes.clear()


async def _compare_timers(db: Executor, audit: Audit) -> None:
    timers = await ledger_tree.all_timers(db)
    running = {id_: transfer.expires_us for id_, transfer in audit.pending.items() if transfer.expires_us}
    for id_ in sorted(timers.keys() | running.keys()):
        if timers.get(id_) != running.get(id_):
            raise Wrong(f"the timer of the pending transfer {id_} is not that of its event")


def _events(rows: Sequence[ledger_tree.StoredEvent]) -> Iterator[tuple[int, Event]]:
    for row in rows:
        if isinstance(row, TransferRow):
            yield row.transfer.seq, Posting(row.transfer, row.refusal, row.salt)
        elif isinstance(row, AccountRow):
            yield row.seq, Opening(account_of(row))
        elif isinstance(row, ledger_tree.ChangeRow):
            yield row.event.seq, Change(row.event, row.salt)
        else:
            yield row.event.seq, Annotation(row.event, row.salt)
