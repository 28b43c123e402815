"""A ledger starts in the same few steps however long its log is, and mends what an older version did not keep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import asyncpg
import pytest

from bitnexus.actors.ledger.archive import inclusion_proof
from bitnexus.actors.ledger.audit import Wrong
from bitnexus.actors.ledger.node_filling import fill_nodes
from bitnexus.actors.ledger.verification import verify
from bitnexus.actors.messages import PostTransfers, TransferRequest
from bitnexus.storage.database import Database
from bitnexus.storage.ledger_writer import LedgerConnection
from tests.integration.ledger_harness import ASSET, USER, RunningWriter, running
from tests.service import Service

#: All rows and pages that a session has touched in its transaction, in the ledger's tables and their indexes.
_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int, sum(coalesce(seq_scan, 0))::int
FROM pg_stat_xact_user_tables WHERE relname LIKE 'ledger%'
"""
DEADLINE_S = 50


async def grow(ledger: RunningWriter, accounts: Sequence[str], transfers: int, batch: int) -> None:
    """So many more transfers."""
    debit, credit = accounts
    for at in range(0, transfers, batch):
        requests = [TransferRequest(str(uuid4()), debit, credit, 1, ASSET) for _ in range(min(batch, transfers - at))]
        await ledger.ask(PostTransfers(USER, "user", requests))


async def rows_read_by_a_start(url: str) -> tuple[int, int]:
    """How many rows the start of a writer reads, and how many tables it reads from one end to the other."""
    db = await LedgerConnection.open(url)
    try:
        await db._connection.execute("BEGIN")
        row, _ = await db.start()
        assert row is not None
        return tuple(await db._connection.fetchrow(_READ))
    finally:
        db.abort()


async def test_a_start_reads_the_same_few_rows_however_long_the_log_is(fresh_database_url):
    read = []
    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(2)
        for transfers in (0, 20, 400):
            await grow(ledger, accounts, transfers, 2)  # each batch a block
            read.append(await rows_read_by_a_start(fresh_database_url))
    assert set(read) == {read[0]}, "it does not grow"
    assert 1 <= read[0][0] <= 2
    assert read[0][1] == 0


@pytest.mark.timeout(120)
async def test_nodes_that_an_older_version_did_not_keep_are_made_whatever_interrupts_it(fresh_database_url):
    db = await asyncpg.connect(fresh_database_url)
    kept = "SELECT level, number, hash FROM ledger_nodes ORDER BY 1, 2"
    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(2)
        await grow(ledger, accounts, 256 * 256 + 700, 8_000)
    before = await db.fetch(kept)
    assert {row["level"] for row in before} == {1, 2}
    # As if the table had come after 65,536 + 300 events.
    await db.execute("DELETE FROM ledger_nodes WHERE level = 2 OR number < 257")
    with pytest.raises(Wrong, match="node 0 of level 1"):
        await verify(db)
    database = await Database.connect(fresh_database_url, pool_size=1)
    try:
        filling = asyncio.create_task(fill_nodes(database))
        async with asyncio.timeout(DEADLINE_S):
            while await db.fetchval("SELECT count(*) FROM ledger_nodes") < 20:
                await asyncio.sleep(0.002)
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        assert await db.fetchval("SELECT count(*) FROM ledger_nodes") < len(before)
        async with asyncio.timeout(DEADLINE_S):
            assert 0 < await fill_nodes(database) < 258
            assert await fill_nodes(database) == 0
        assert await db.fetch(kept) == before
        await verify(db)
        # What cannot be made ends the work, not the ledger.
        await db.execute("DELETE FROM ledger_nodes WHERE level = 2 OR number < 5")
        await db.execute("DELETE FROM ledger_transfers WHERE seq = 600")
        assert await fill_nodes(database) == 2
    finally:
        await database.close()
        await db.close()


async def test_a_ledger_makes_missing_nodes_when_it_starts(fresh_database_url, tmp_path):
    async with running(fresh_database_url) as ledger:
        accounts = await ledger.funded(2)
        await grow(ledger, accounts, 1_000, 500)
    db = await asyncpg.connect(fresh_database_url)
    await db.execute("DELETE FROM ledger_nodes")
    service = await Service.start(fresh_database_url, tmp_path)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while await db.fetchval("SELECT count(*) FROM ledger_nodes") < 3:
                await asyncio.sleep(0.02)
        assert len(await inclusion_proof(db, 5, 1_000)) > 8
    finally:
        assert await service.stop() == 0
    await verify(db)
    await db.close()
