"""Pending transfers, chains, reversals and the states of accounts, through the writer and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from bitnexus import errors
from bitnexus.actors.ledger.accounts import expiry_id
from bitnexus.actors.messages import AccountChanged, ChangeAccount, CreateAccount, PostTransfers, TransferRequest
from bitnexus.storage import ledger as reads
from tests.integration.ledger_harness import ASSET, USER, WORLD, RunningWriter, audit, post, running

DEADLINE_S = 20


def request(debit: str, credit: str, amount: int, **fields) -> TransferRequest:
    return TransferRequest(fields.pop("transfer_id", str(uuid4())), debit, credit, amount, ASSET, **fields)


async def ask(ledger: RunningWriter, *requests: TransferRequest) -> list[str | None]:
    return [result.refusal for result in (await ledger.ask(PostTransfers(USER, "user", list(requests)))).results]


async def told(ledger: RunningWriter, transfer_id: str):
    """Wait until an event with that id has been told of."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for block in ledger.committed:
                for event in block.events:
                    if getattr(event, "transfer_id", None) == transfer_id:
                        return event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("balance_cache", [0, 100])
async def test_what_is_pending_is_posted_in_part_or_voided_once_whatever_is_in_memory(
    fresh_database_url, balance_cache
):
    async with running(fresh_database_url, balance_cache=balance_cache) as ledger:
        alice, bob = await ledger.funded(2, 100)
        first, second = request(alice, bob, 60, kind="pending"), request(alice, bob, 40, kind="pending", timeout_s=60)
        assert await ask(ledger, first, second, request(alice, bob, 1)) == [None, None, "exceeds_credits"]
        part = request(alice, bob, 50, kind="post_pending", pending_id=first.transfer_id)
        void = request(alice, bob, 40, kind="void_pending", pending_id=second.transfer_id)
        assert await ask(ledger, part, void) == [None, None]
        assert await ask(ledger, part, void) == [None, None], "replays"
        again = [request(alice, bob, 40, kind="void_pending", pending_id=each.transfer_id) for each in (first, second)]
        assert await ask(ledger, *again) == ["pending_transfer_has_different_amount", "pending_transfer_already_voided"]
        ledger.writer._committer._recent.clear()
        replayed = await ledger.ask(PostTransfers(USER, "user", [part]))
        assert replayed.results[0].replayed
        assert (replayed.results[0].transfer.kind, replayed.results[0].transfer.amount) == ("post_pending", 50)
    assert await audit(fresh_database_url) == {WORLD: -200, alice: 50, bob: 150}


@pytest.mark.parametrize("attempt", range(3))
async def test_a_pending_transfer_with_a_timer_asked_again_after_a_restart_is_a_replay(fresh_database_url, attempt):
    """Its timer's row is as unique as the transfer's: the database may say of either that it is there."""
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        asked = [request(alice, bob, 1, kind="pending", timeout_s=60) for _ in range(1 + 5 * attempt)]
        assert set(await ask(ledger, *asked)) == {None}
    async with running(fresh_database_url) as ledger:
        answer = await ledger.ask(PostTransfers(USER, "user", [*asked, request(alice, bob, 1)]))
        assert [each.replayed for each in answer.results] == [True] * len(asked) + [False]
        assert {each.refusal for each in answer.results} == {None}


async def test_a_pending_transfer_expires_by_itself_and_what_it_reserved_is_free_again(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        pending = request(alice, bob, 100, kind="pending", timeout_s=1)
        assert await ask(ledger, pending) == [None]
        expired = await told(ledger, expiry_id(pending.transfer_id))
        assert (expired.kind, expired.pending_id) == ("expire_pending", pending.transfer_id)
        late = request(alice, bob, 100, kind="post_pending", pending_id=pending.transfer_id)
        assert await ask(ledger, late, request(alice, bob, 100)) == ["pending_transfer_expired", None]
    assert (await audit(fresh_database_url))[bob] == 200


async def test_what_expired_while_no_ledger_ran_is_written_by_the_next_one(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        pending = [request(alice, bob, 1, kind="pending", timeout_s=1) for _ in range(30)]
        assert await ask(ledger, *pending) == [None] * 30
    await asyncio.sleep(1.1)
    async with running(fresh_database_url, balance_cache=0) as ledger:
        for each in pending:
            await told(ledger, expiry_id(each.transfer_id))
    assert (await audit(fresh_database_url))[alice] == 100


async def test_a_failed_chain_leaves_nothing_and_a_good_one_is_one_block(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        bad = [request(alice, bob, 60, linked=True), request(alice, bob, 60)]
        assert await ask(ledger, *bad) == ["linked_event_failed", "exceeds_credits"]
        ledger.writer._committer._recent.clear()
        await ledger.fund(alice, 100)
        assert await ask(ledger, *bad) == ["linked_event_failed", "exceeds_credits"], "burned"
        height = ledger.writer.head.height
        assert await ask(ledger, request(alice, bob, 60, linked=True), request(bob, alice, 10)) == [None, None]
        assert ledger.writer.head.height == height + 1
    assert (await audit(fresh_database_url))[alice] == 150


async def test_a_transfer_of_long_ago_is_reversed_once(fresh_database_url):
    async with running(fresh_database_url, balance_cache=0) as ledger:
        alice, bob = await ledger.funded(2, 100)
        command = post(alice, bob, 70)
        await ledger.ask(command)
        back = [request(bob, alice, 70, kind="reversal", reverses_id=command.transfer_id) for _ in range(2)]
        assert await ask(ledger, back[0]) == [None]
        assert await ask(ledger, back[1]) == ["reversed_transfer_already_reversed"]
    assert (await audit(fresh_database_url))[alice] == 100


async def test_accounts_are_frozen_and_closed_by_events_that_a_restarted_ledger_knows(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        status = await ledger.ask(ChangeAccount(USER, "admin", alice, "freeze"))
        assert status.status == "frozen"
        event = ledger.committed[-1].events[0]
        assert isinstance(event, AccountChanged)
        assert (event.account_id, event.action, event.seq) == (alice, "freeze", status.seq)
        with pytest.raises(errors.Conflict):
            await ledger.ask(ChangeAccount(USER, "admin", bob, "close"))
    async with running(fresh_database_url) as ledger:
        assert (await ledger.ask(post(alice, bob))).refusal == "account_frozen"
        await ledger.ask(ChangeAccount(USER, "admin", alice, "unfreeze"))
        assert (await ledger.ask(post(alice, WORLD, 100))).refusal is None
        await ledger.ask(ChangeAccount(USER, "admin", alice, "close"))
        connection = await asyncpg.connect(fresh_database_url)
        page = await reads.events_after(connection, -1)
        await connection.close()
        assert [e for block in ledger.committed for e in block.events] == page.events[ledger.committed[0].first_seq :]
    async with running(fresh_database_url) as ledger:
        assert (await ledger.ask(post(bob, alice))).refusal == "account_closed"
    await audit(fresh_database_url)


async def test_an_account_with_a_credit_limit_goes_below_zero_and_no_further(fresh_database_url):
    async with running(fresh_database_url, balance_cache=0) as ledger:
        account, bob = str(uuid4()), await ledger.open()
        await ledger.ask(CreateAccount(account, USER, ASSET, 0, 1, 50))
        assert (await ledger.ask(post(account, bob, 51))).refusal == "exceeds_credits"
        assert (await ledger.ask(post(account, bob, 50))).transfer.debit_balance == -50
    assert (await audit(fresh_database_url))[account] == -50


async def test_a_batch_of_thousands_is_one_block_and_the_nodes_of_its_tiles_are_kept(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 10_000)
        height = ledger.writer.head.height
        assert await ask(ledger, *(request(alice, bob, 1) for _ in range(3_000))) == [None] * 3_000
        assert ledger.writer.head.height == height + 1
    assert (await audit(fresh_database_url))[alice] == 7_000
