"""Proofs from what is stored: leaf hashes recomputed from the events' rows, and the kept nodes above them."""

from __future__ import annotations

from collections.abc import Iterable

from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_annotation, leaf_of_change, leaf_of_transfer
from bitnexus.actors.ledger.log import TILE_WIDTH, leaf_hash
from bitnexus.actors.ledger.proofs import (
    Entry,
    ProofInvalid,
    consistency_path,
    entries_of,
    inclusion_path,
    proof_of,
)
from bitnexus.actors.ledger.stored import account_of
from bitnexus.storage.ledger import Executor
from bitnexus.storage.ledger_rows import AccountRow, TransferRow
from bitnexus.storage.ledger_tree import ChangeRow, StoredEvent, events_between, nodes_between


async def inclusion_proof(db: Executor, index: int, size: int) -> list[bytes]:
    """The proof that event `index` is in the tree of the first `size` events, from the leaf to the root.

    Raises:
        ValueError: there is no such event.
        ProofInvalid: events or nodes that it needs are not stored.
    """
    path = inclusion_path(index, size)
    return proof_of(path, await _hashes(db, entries_of(path)))


async def consistency_proof(db: Executor, old: int, new: int) -> list[bytes]:
    """The proof that the tree of `new` events extends that of `old`.

    Raises:
        ValueError: not 0 < `old` ≤ `new`.
        ProofInvalid: events or nodes that it needs are not stored.
    """
    path = consistency_path(old, new)
    return proof_of(path, await _hashes(db, entries_of(path)))


async def tile(db: Executor, level: int, number: int, width: int) -> list[bytes]:
    """The first `width` hashes of a tile, which the tree must have.

    Raises:
        ProofInvalid: they are not stored.
    """
    first = number * TILE_WIDTH
    wanted = [Entry(level, each) for each in range(first, first + width)]
    hashes = await _hashes(db, wanted)
    return [hashes[entry] for entry in wanted]


def seq_and_leaf(row: StoredEvent) -> tuple[int, bytes]:
    """Where an event stands in the log, and its leaf hash from its stored fields."""
    event = row.transfer if isinstance(row, TransferRow) else row if isinstance(row, AccountRow) else row.event
    return event.seq, leaf_hash(leaf_of(row))


def leaf_of(row: StoredEvent) -> bytes:
    """The leaf of an event from its stored fields."""
    if isinstance(row, TransferRow):
        return leaf_of_transfer(row.transfer, row.refusal, row.salt)
    if isinstance(row, ChangeRow):
        return leaf_of_change(row.event, row.salt)
    if isinstance(row, AccountRow):
        return leaf_of_account(account_of(row))
    return leaf_of_annotation(row.event, row.salt)


async def _hashes(db: Executor, entries: Iterable[Entry]) -> dict[Entry, bytes]:
    """The hashes, read tile by tile."""
    tiles: dict[tuple[int, int], list[int]] = {}
    for level, number in entries:
        tiles.setdefault((level, number // TILE_WIDTH), []).append(number)
    found: dict[Entry, bytes] = {}
    for (level, _), numbers in tiles.items():
        first, end = min(numbers), max(numbers) + 1
        if level == 0:
            row = dict(seq_and_leaf(event) for event in await events_between(db, first, end))
        else:
            row = await nodes_between(db, level, first, end)
        missing = [number for number in numbers if number not in row]
        if missing:
            raise ProofInvalid(f"hash {missing[0]} of level {level} is not stored")
        found.update((Entry(level, number), row[number]) for number in numbers)
    return found
