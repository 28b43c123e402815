"""Keeps the tree's nodes of events that are older than the table of nodes: it came with schema revision 0003.

The writer keeps the nodes that its own blocks complete; so what is missing is, at each level, all below the lowest that
is there. They are made from the top down: each is there or not, whatever interrupts the work, and the one look that
every start takes says all (the lowest number of each level is 0).
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from bitnexus.actors.ledger.archive import seq_and_leaf
from bitnexus.actors.ledger.log import TILE_HEIGHT, TILE_WIDTH, Tree
from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import ledger_tree
from bitnexus.storage.database import Database
from bitnexus.storage.ledger import Executor, last_block

_RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)


class EventMissing(Exception):
    """The nodes cannot be made: an event, or a node below, is not stored. `bitnexus ledger verify` says more."""


async def fill_nodes(database: Database) -> int:
    """Make the nodes that are missing; how many. A tile's width of hashes is in memory, and other work goes on between.

    Waits while the database is away. What cannot be made for want of an event is logged: proofs that need it fail.
    """
    made = 0
    while True:
        try:
            async with database.connection() as db:
                missing = await _next_missing(db)
                if missing is None:
                    break
                if not made:
                    _log.info("tree_nodes_missing", level=missing[0], count=missing[1] + 1)
                await ledger_tree.add_nodes(db, [(*missing, await _node(db, *missing))])
                made += 1
        except DatabaseUnavailable:
            await asyncio.sleep(_RETRY_S)
        except EventMissing as error:
            _log.error("tree_nodes_not_made", reason=str(error))
            break
    if made:
        _log.info("tree_nodes_made", count=made)
    return made


async def _next_missing(db: Executor) -> tuple[int, int] | None:
    """Level and number of the node to be made next; None if all are there."""
    last = await last_block(db)
    size, level = 0 if last is None else last.tree_size >> TILE_HEIGHT, 1
    while size:
        lowest = await ledger_tree.lowest_node(db, level)
        first = size if lowest is None else lowest
        if first > 0:
            return level, first - 1
        size, level = size >> TILE_HEIGHT, level + 1
    return None


async def _node(db: Executor, level: int, number: int) -> bytes:
    first, end = number * TILE_WIDTH, (number + 1) * TILE_WIDTH
    if level == 1:
        below = dict(seq_and_leaf(event) for event in await ledger_tree.events_between(db, first, end))
    else:
        below = await ledger_tree.nodes_between(db, level - 1, first, end)
    if len(below) != TILE_WIDTH:
        missing = next(each for each in range(first, end) if each not in below)
        raise EventMissing(f"hash {missing} of level {level - 1} is not stored")
    (node,) = Tree().extend(below[each] for each in range(first, end)).peaks
    return node
