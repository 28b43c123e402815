"""Balances and trial balances of any moment, against a sum over everything that happened until then."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import CreateAccount, PostTransfers, Transfer, TransferRequest
from bitnexus.storage import ledger as reads
from bitnexus.storage.ledger_accounting import (
    _BALANCE,
    _SEQ_AT,
    _TRIAL_BALANCE,
    AssetTotals,
    balance_at,
    seq_at,
    trial_balance,
)
from tests.integration.ledger_harness import ASSET, USER, WORLD, RunningWriter, audit, between, post, running

EUR = "EUR/2"


@pytest.fixture
async def ledger(fresh_database_url) -> AsyncIterator[RunningWriter]:
    async with running(fresh_database_url, assets=(ASSET, EUR)) as writer:
        yield writer


@pytest.fixture
async def db(fresh_database_url) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


class Lived(NamedTuple):
    """What happened, event by event: None for what moved nothing."""

    accounts: list[str]
    events: list[object]


@pytest.fixture
async def lived(ledger) -> Lived:
    """Some blocks of transfers, pending ones and what became of them, refusals and openings, in two assets."""
    chance = random.Random(5)
    accounts = await ledger.funded(4, 1_000)
    await ledger.open(asset=EUR)
    for _ in range(6):
        asked = [between(chance, accounts, chance.randint(1, 400)) for _ in range(6)]
        reserved = [pending(chance.sample(accounts, 2), chance.randint(1, 300)) for _ in range(3)]
        await asyncio.gather(*map(ledger.ask, asked), ledger.ask(PostTransfers(USER, "user", reserved)))
        ends = [ended(each, kind) for each, kind in zip(reserved, ["post_pending", "void_pending"], strict=False)]
        await ledger.ask(PostTransfers(USER, "user", ends))
    accounts.append(await ledger.open())
    return Lived(accounts, [event for block in ledger.committed for event in block.events])


def pending(sides: list[str], amount: int) -> TransferRequest:
    return TransferRequest(str(uuid4()), sides[0], sides[1], amount, ASSET, kind="pending")


def ended(first: TransferRequest, kind: str) -> TransferRequest:
    amount = first.amount if kind == "void_pending" else 1
    sides = first.debit_account_id, first.credit_account_id
    return TransferRequest(str(uuid4()), *sides, amount, ASSET, kind=kind, pending_id=first.transfer_id)


def balances(events: list[object]) -> Counter[str]:
    """By summing up."""
    found: Counter[str] = Counter()
    for event in events:
        if isinstance(event, Transfer) and event.kind in {"post", "post_pending", "reversal"}:
            found[event.debit_account_id] -= event.amount
            found[event.credit_account_id] += event.amount
    return found


def totals(events: list[object]) -> tuple[int, int]:
    """What was moved, and what is pending, of USD."""
    transfers = {event.transfer_id: event for event in events if isinstance(event, Transfer)}
    moved = sum(t.amount for t in transfers.values() if t.kind in {"post", "post_pending", "reversal"})
    pending = sum(t.amount for t in transfers.values() if t.kind == "pending")
    return moved, pending - sum(transfers[t.pending_id].amount for t in transfers.values() if t.pending_id)


async def test_a_balance_after_any_event_is_the_sum_of_what_came_until_then(lived, db):
    assert {event.kind for event in lived.events if isinstance(event, Transfer)} > {"post", "post_pending"}
    assert None in lived.events, "refusals too"
    for seq in range(len(lived.events)):
        expected = balances(lived.events[: seq + 1])
        for account in (WORLD, *lived.accounts):
            assert await balance_at(db, account, seq) == expected[account]


async def test_a_trial_balance_after_any_event_is_the_sum_of_what_came_until_then(lived, db):
    opened = [getattr(event, "asset", "") for event in lived.events if not isinstance(event, Transfer)]
    assert opened.count(EUR) == 2
    for seq in range(len(lived.events)):
        moved, pending = totals(lived.events[: seq + 1])
        found = await trial_balance(db, at_seq=seq)
        assert (found.as_of_seq, found.unbalanced) == (seq, 0)
        by_asset = {each.asset: each for each in found.assets}
        usd = by_asset[ASSET]
        assert usd == AssetTotals(ASSET, usd.accounts, moved, moved, pending, pending)
        assert (usd.difference, usd.difference_pending) == (0, 0)
        accounts = [e for e in lived.events[: seq + 1] if e is not None and not isinstance(e, Transfer)]
        assert sum(each.accounts for each in found.assets) == len(accounts)


async def test_a_trial_balance_of_now_says_as_of_which_event_and_comes_in_parts(ledger, db):
    for asset in ("A/0", "B/0", "Z:b-1/0", "Z:b/0"):
        await ledger.ask(CreateAccount(world_account_id(asset), "", asset, 0, 0))
    whole = await trial_balance(db)
    assert whole.as_of_seq == await reads.last_seq(db)
    assert [each.asset for each in whole.assets] == sorted(["A/0", "B/0", ASSET, EUR, "Z:b-1/0", "Z:b/0"])
    parts: list[AssetTotals] = []
    while part := (await trial_balance(db, after_asset=parts[-1].asset if parts else "", limit=2)).assets:
        assert len(part) <= 2
        parts += part
    assert parts == whole.assets


async def test_what_was_altered_behind_the_ledger_s_back_shows_as_a_difference(ledger, db):
    (alice,) = await ledger.funded(1, 100)
    await db.execute("UPDATE ledger_accounts SET credits_posted = credits_posted + 5 WHERE id = $1", alice)
    found = await trial_balance(db, limit=1)
    assert found.unbalanced == 1
    assert {each.asset: each.difference for each in (await trial_balance(db)).assets} == {ASSET: 5, EUR: 0}


async def test_sums_beyond_64_bits_are_exact(ledger, db):
    largest = 2**63 - 1
    await ledger.open()
    await db.execute("UPDATE ledger_accounts SET flags = 0, debits_posted = $1, credits_posted = $1", largest)
    (eur, usd) = (await trial_balance(db)).assets
    assert (usd.debits_posted, usd.credits_posted, usd.difference) == (2 * largest, 2 * largest, 0)
    assert eur.debits_posted == largest


async def test_before_the_first_block_there_is_nothing(db):
    assert await seq_at(db, 2**62) == -1
    assert await reads.last_seq(db) == -1
    assert await reads.blocks_before(db) == []
    found = await trial_balance(db)
    assert (found.as_of_seq, found.unbalanced, found.assets) == (-1, 0, [])


async def test_the_last_event_at_a_time_is_that_of_the_last_block_until_then(ledger, db):
    (alice,) = await ledger.funded(1, 100)
    for _ in range(20):
        await ledger.ask(post(alice, WORLD))
    blocks = (await reads.blocks_before(db, limit=100))[::-1]
    assert len(blocks) > 20
    for number in range(1, len(blocks) + 1):
        newest = blocks[number - 1]
        until = blocks[number].time_us if number < len(blocks) else 2**62
        for time_us in (newest.time_us, until - 1):
            assert await seq_at(db, time_us) == newest.tree_size - 1
    assert await seq_at(db, blocks[0].time_us - 1) == -1
    assert await seq_at(db, -(2**60)) == -1


async def test_blocks_are_read_page_by_page_newest_first_while_the_ledger_grows(ledger, db):
    (alice,) = await ledger.funded(1, 100)
    for _ in range(7):
        await ledger.ask(post(alice, WORLD))
    heights, before = [], reads.END
    newest = ledger.writer.head.height
    while page := await reads.blocks_before(db, before, limit=3):
        assert len(page) <= 3
        heights += [block.height for block in page]
        before = heights[-1]
        await ledger.ask(post(alice, WORLD))
    assert heights == list(range(newest, 0, -1))


async def test_a_snapshot_under_load_is_balanced_and_waits_for_nobody(ledger, db, fresh_database_url):
    accounts = await ledger.funded(5, 10_000)
    chance = random.Random(3)
    stop = asyncio.Event()

    async def load() -> int:
        asked = 0
        while not stop.is_set():
            await asyncio.gather(*(ledger.ask(between(chance, accounts, 1)) for _ in range(20)))
            asked += 20
        return asked

    loading = asyncio.create_task(load())
    seen: list[int] = []
    for _ in range(30):
        found = await trial_balance(db)
        assert found.unbalanced == 0
        (again,) = [each for each in (await trial_balance(db, at_seq=found.as_of_seq)).assets if each.asset == ASSET]
        assert again in found.assets, "the same moment, seen later"
        seen.append(found.as_of_seq)
    # A snapshot that is held open keeps the ledger from nothing.
    async with db.transaction(isolation="repeatable_read", readonly=True):
        before = await trial_balance(db)
        height = ledger.writer.head.height
        async with asyncio.timeout(10):
            while ledger.writer.head.height < height + 3:
                await asyncio.sleep(0.01)
        assert await trial_balance(db) == before
    stop.set()
    await loading
    assert seen == sorted(seen)
    await audit(fresh_database_url)


# All money came in at the beginning: the world account occurs often, and its last entry is long ago.
LONG_LOG = """
INSERT INTO ledger_transfers
SELECT gen_random_uuid(), CASE WHEN n <= 10000 THEN $1 ELSE u[n % 500 + 1] END, u[n * 7 % 500 + 501], $1, 1, n, n, n,
    -n, n, 0, 'USD/2', '', '', NULL, ''::bytea
FROM (SELECT array_agg(gen_random_uuid()) AS u FROM generate_series(1, 1000)) AS users, generate_series(1, 30000) AS n
"""
LONG_CHAIN = """
INSERT INTO ledger_blocks SELECT n, ''::bytea, ''::bytea, n + 1, ''::bytea, ''::bytea, n * 1000
FROM generate_series(1, 30000) AS n
"""


async def test_balances_and_moments_are_looked_up_in_indexes_however_long_the_log_is(db):
    await db.execute(LONG_LOG, WORLD)
    await db.execute(LONG_CHAIN)
    await db.execute("ANALYZE")

    async def plan(query: str, *arguments) -> str:
        found = await db.fetch("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) " + query, *arguments)
        return "\n".join(row[0] for row in found)

    of_balance = await plan(_BALANCE, WORLD, 29_000)
    assert "ledger_transfers_debit" in of_balance
    assert "ledger_transfers_credit" in of_balance
    assert "Seq Scan" not in of_balance
    assert await balance_at(db, WORLD, 29_000) == -10_000
    of_time = await plan(_SEQ_AT, 15_000_999)
    assert "Seq Scan" not in of_time
    assert await seq_at(db, 15_000_999) == 15_000
    of_past = await plan(_TRIAL_BALANCE, 29_000, "", 10)
    assert "ledger_transfers_seq" in of_past
    assert "Seq Scan on ledger_transfers" not in of_past
