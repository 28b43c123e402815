"""What fronts and the notifier read of the ledger's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from bitnexus.actors.messages import AccountOpened, OpenAccount, PostTransfers, Transfer, TransferRequest
from bitnexus.storage import ledger as reads
from bitnexus.storage import ledger_pages
from bitnexus.storage.ledger_pages import HistoryAsked, TransferPage, accounts_as_of, histories, transfers_of
from bitnexus.storage.ledger_transfer_now import TransferNow, transfers_now
from tests.integration.ledger_harness import ASSET, USER, WORLD, RunningWriter, post, running


@pytest.fixture
async def ledger(fresh_database_url) -> AsyncIterator[RunningWriter]:
    async with running(fresh_database_url) as writer:
        yield writer


@pytest.fixture
async def db(fresh_database_url) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


async def page_of(db, account_id, *, as_of_seq=None, before_seq=None, most=100) -> TransferPage:
    asked = HistoryAsked(account_id, None, as_of_seq, before_seq, most)
    return (await histories(db, [asked]))[asked]


async def test_an_account_is_found_by_its_id_and_by_its_owner_with_its_balance(ledger, db):
    owner = str(uuid4())
    first, second = await ledger.open(owner=owner), await ledger.open(owner=owner, asset="EUR/2")
    await ledger.open()
    await ledger.fund(first, 70)
    rows = await reads.accounts_of(db, owner)
    assert [(row.account_id, row.asset, row.balance) for row in rows] == [(first, ASSET, 70), (second, "EUR/2", 0)]
    assert await reads.account_by_id(db, first) == rows[0]
    world = await reads.account_by_id(db, WORLD)
    assert world is not None
    assert (world.owner_id, world.balance) == ("", -70)
    assert await reads.account_by_id(db, str(uuid4())) is None
    assert await reads.accounts_of(db, str(uuid4())) == []


async def test_a_posted_transfer_is_found_by_its_id_with_its_owners_and_a_refused_one_is_not(ledger, db):
    owner = str(uuid4())
    alice, bob = await ledger.open(owner=owner), await ledger.open()
    await ledger.fund(alice, 10)
    posted = await ledger.ask(post(alice, bob, 10, description="ü", metadata='{"a":1}'))
    refused = await ledger.ask(post(alice, bob, 10))
    *_, (paid_in, _, _) = (await page_of(db, alice)).transfers
    assert paid_in.debit_account_id == WORLD
    wanted = [posted.transfer_id, refused.transfer_id, str(uuid4()), paid_in.transfer_id]
    assert await transfers_now(db, wanted) == {
        posted.transfer_id: TransferNow((posted.transfer, None, None), owner, USER),
        paid_in.transfer_id: TransferNow((paid_in, None, None), "", owner),
    }


async def test_a_transfer_is_shown_with_what_has_resolved_it(ledger, db):
    alice, bob = await ledger.funded(2, 10)
    ids = [str(uuid4()) for _ in range(3)]
    pending = TransferRequest(ids[0], alice, bob, 10, ASSET, kind="pending")
    part = TransferRequest(ids[1], alice, bob, 4, ASSET, kind="post_pending", pending_id=ids[0])
    back = TransferRequest(ids[2], bob, alice, 4, ASSET, kind="post_pending", pending_id=ids[1])
    answer = await ledger.ask(PostTransfers(USER, "user", [pending, part, back]))
    assert [result.refusal is None for result in answer.results] == [True, True, False]
    found = await transfers_now(db, ids)
    resolved = {id_: each.as_it_is[1] for id_, each in found.items()}
    assert resolved == {ids[0]: ("post_pending", ids[1]), ids[1]: None}
    posted = answer.results[1].transfer.seq
    for as_of_seq, resolution in ((posted - 1, None), (posted, ("post_pending", ids[1]))):
        page = await page_of(db, bob, as_of_seq=as_of_seq)
        assert {each.transfer_id: by for each, by, _ in page.transfers}[ids[0]] == resolution


async def test_a_history_is_read_page_by_page_newest_first_while_the_ledger_grows(ledger, db):
    alice, bob, carol = await ledger.funded(3, 100)
    made = [(await ledger.ask(post(*pair, 1))).transfer for pair in [(alice, bob), (bob, alice), (bob, carol)] * 5]
    await ledger.ask(post(alice, bob, 10_000))
    of_alice = [each for each in made if alice in (each.debit_account_id, each.credit_account_id)]
    seen: list[Transfer] = []
    before = None
    while page := [each for each, _, _ in (await page_of(db, alice, before_seq=before, most=4)).transfers]:
        assert len(page) <= 4
        seen += page
        before = page[-1].seq
        await ledger.ask(post(alice, bob, 1))
    assert seen[:-1] == of_alice[::-1]
    assert seen[-1].debit_account_id == WORLD
    last = made[-1].seq
    both = (await transfers_of(db, USER, as_of_seq=last, before_seq=None, limit=100)).transfers
    assert [each.seq for each, _, _ in both] == sorted({each.seq for each, _, _ in both}, reverse=True)
    assert [each for each, _, _ in both[:15]] == made[::-1], "a transfer between two of the accounts comes once"
    rest = await transfers_of(db, USER, as_of_seq=last, before_seq=made[7].seq, limit=3)
    assert [each for each, _, _ in rest.transfers] == made[4:7][::-1]
    newest = await reads.last_seq(db)
    nobody_s = await transfers_of(db, str(uuid4()), as_of_seq=None, before_seq=None, limit=9)
    assert nobody_s == TransferPage(newest, [])


async def test_pages_that_are_read_together_are_those_that_were_asked_for(ledger, db):
    owner = str(uuid4())
    alice, bob = await ledger.open(owner=owner), await ledger.open()
    empty = await ledger.open(owner=owner)
    await ledger.fund(alice, 10)
    paid = [(await ledger.ask(post(alice, bob, 1))).transfer for _ in range(3)]
    newest = await reads.last_seq(db)
    all_of_bob = HistoryAsked(bob, USER, None, None, 9)
    one_of_bob = HistoryAsked(bob, USER, paid[1].seq, None, 1)
    of_alice = HistoryAsked(alice, None, paid[2].seq, paid[2].seq, 2)
    of_empty = HistoryAsked(empty, owner, None, None, 9)
    another_s, unknown = HistoryAsked(alice, USER, None, None, 9), HistoryAsked(str(uuid4()), None, None, None, 9)
    found = await histories(db, [another_s, all_of_bob, of_empty, unknown, of_alice, one_of_bob])
    assert {asked: [each for each, _, _ in page.transfers] for asked, page in found.items()} == {
        all_of_bob: paid[::-1],
        of_empty: [],
        of_alice: paid[1::-1],
        one_of_bob: [paid[1]],
    }
    as_of = {asked: page.as_of_seq for asked, page in found.items()}
    assert as_of == {all_of_bob: newest, of_empty: newest, of_alice: paid[2].seq, one_of_bob: paid[1].seq}


async def test_accounts_are_shown_as_of_the_newest_event_also_when_there_are_none(ledger, db):
    owner = str(uuid4())
    first, second = await ledger.open(owner=owner), await ledger.open(owner=owner, asset="EUR/2")
    await ledger.fund(first, 70)
    newest, rows = await reads.last_seq(db), await reads.accounts_of(db, owner, and_ids=[WORLD])
    assert await accounts_as_of(db, owner, and_ids=[WORLD], after_seq=-1, limit=9) == (newest, rows)
    assert {row.account_id for row in rows} == {WORLD, first, second}
    after = rows[1].seq
    assert await accounts_as_of(db, owner, and_ids=[], after_seq=after, limit=9) == (newest, rows[2:])
    assert await accounts_as_of(db, str(uuid4()), and_ids=[], after_seq=-1, limit=9) == (newest, [])


async def test_the_events_after_a_position_are_those_that_were_told_of(ledger, db):
    alice, bob = await ledger.funded(2, 10)
    await ledger.ask(post(alice, bob, 11))
    await ledger.ask(post(alice, bob, 10))
    told = [event for block in ledger.committed for event in block.events]
    owners = {id_: owner for block in ledger.committed for id_, owner in block.owners.items()}
    page = await reads.events_after(db, -1)
    assert (page.first_seq, page.events, page.owners) == (0, told, owners)
    assert [type(event) for event in told] == [*[AccountOpened] * 3, Transfer, Transfer, type(None), Transfer]
    part = await reads.events_after(db, 2, limit=3)
    assert (part.first_seq, part.events) == (3, told[3:6])
    end = await reads.events_after(db, len(told) - 1)
    assert (end.first_seq, end.events) == (len(told), [])


async def test_the_last_block_is_the_writer_s_head(ledger, db, empty_database_url):
    await ledger.ask(OpenAccount(str(uuid4()), USER, ASSET))
    row = await reads.last_block(db)
    head = ledger.writer.head
    assert row is not None
    assert (row.height, row.hash, row.tree_size, row.tree_root) == (head.height, head.hash, head.tree.size, head.root)


async def test_a_page_of_history_uses_the_indexes_however_long_it_is(ledger, db):
    (alice,) = await ledger.funded(1, 10)
    await db.execute("SET enable_seqscan = off")
    await db.execute("SET plan_cache_mode = force_generic_plan")
    asked = ([alice], [None], [None], [None], [5])
    plan = "\n".join(row[0] for row in await db.fetch("EXPLAIN " + ledger_pages.HISTORIES, *asked))
    assert "ledger_transfers_debit" in plan
    assert "ledger_transfers_credit" in plan
    assert "Seq Scan" not in plan


async def test_the_transfers_of_some_users_are_read_on_from_a_position_in_order_each_once(ledger, db):
    alice, bob, carol = (str(uuid4()) for _ in range(3))
    a, b, c = [await ledger.open(owner=owner) for owner in (alice, bob, carol)]
    for account in (a, b, c):
        await ledger.fund(account, 100)
    made = [(await ledger.ask(post(*pair, 1))).transfer for pair in [(a, b), (b, c), (c, a), (b, a)] * 3]
    await ledger.ask(post(a, b, 10_000))
    last = made[-1].seq
    of_two = {"owners": [alice, bob], "after": made[0].seq, "wanted": made[1:-1]}
    of_one = {
        "owners": [alice],
        "after": made[0].seq,
        "wanted": [t for t in made[1:-1] if b != t.debit_account_id or c != t.credit_account_id],
    }
    for case in (of_two, of_one):
        seen, after = [], case["after"]
        while True:
            page, owners = await reads.transfers_of_owners(
                db, case["owners"], after_seq=after, up_to_seq=last - 1, limit=2
            )
            assert all({t.debit_account_id, t.credit_account_id} <= set(owners) for t in page)
            seen += page
            if len(page) < 2:
                break
            after = page[-1].seq
        assert seen == case["wanted"]
