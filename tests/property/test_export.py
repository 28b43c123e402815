"""An export is verified in memory that does not grow with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from uuid import UUID

from bitnexus.actors.ledger import log
from bitnexus.actors.ledger.accounts import Account
from bitnexus.actors.ledger.audit import Event, Opening, Posting
from bitnexus.actors.ledger.export_audit import verify_lines
from bitnexus.actors.ledger.export_lines import (
    FORMAT,
    VERSION,
    BlockLine,
    EndLine,
    StartLine,
    encode,
    line_of,
    line_of_totals,
)
from bitnexus.actors.ledger.leaves import leaf_of_account, leaf_of_transfer
from bitnexus.actors.messages import Transfer

ONE, OTHER = str(UUID(int=1)), str(UUID(int=2))
SALT = bytes(16)
PER_BLOCK = 50


def _event(seq: int, block: int) -> tuple[Event, bytes]:
    """Two accounts are opened, then one pays the other 1, again and again; and the event's leaf."""
    if seq < 2:
        account = Account((ONE, OTHER)[seq], owner_id="", asset="USD/2", flags=0, salt=SALT)
        account.opened_seq, account.opened_block, account.opened_us = seq, block, block
        return Opening(account), leaf_of_account(account)
    paid = seq - 1
    place = (seq, block, block, -paid, paid)
    transfer = Transfer(str(UUID(int=seq)), ONE, OTHER, 1, "USD/2", 0, "", "", ONE, *place)
    return Posting(transfer, None, SALT), leaf_of_transfer(transfer, None, SALT)


def export_of(blocks: int) -> Iterator[bytes]:
    """The lines of a ledger of so many blocks, made as they are read."""
    digest, count = sha256(), 0

    def told(line: bytes) -> bytes:
        nonlocal count
        digest.update(line)
        count += 1
        return line

    events = blocks * PER_BLOCK
    yield told(encode(StartLine(FORMAT, VERSION, blocks, events, None, None)))
    head = log.Head()
    for height in range(1, blocks + 1):
        present = [_event(seq, height) for seq in range(head.tree.size, height * PER_BLOCK)]
        before, head = head, head.extend([log.leaf_hash(leaf) for _, leaf in present], height)
        yield told(encode(BlockLine(height, before.hash, head.hash, head.tree.size, head.root, height)))
        for event, _ in present:
            yield told(encode(line_of(event)))
    yield told(encode(line_of_totals(ONE, (events - 2, 0, 0, 0, 0))))
    yield told(encode(line_of_totals(OTHER, (0, events - 2, 0, 0, 0))))
    yield encode(EndLine(blocks, events, 2, count, digest.hexdigest()))


def test_the_memory_for_a_verification_does_not_grow_with_the_log():
    peaks = []
    for blocks in (20, 20, 200):  # the first one pays for what is made once
        tracemalloc.start()
        try:
            assert verify_lines(export_of(blocks))[0].events == blocks * PER_BLOCK
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[2] < peaks[1] * 1.1, peaks
