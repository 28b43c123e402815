"""The writer on a real PostgreSQL: what it promises when nothing fails."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import asyncpg
import pytest

from bitnexus import errors
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.ledger.committer import Fenced
from bitnexus.actors.messages import OpenAccount, PostTransfer, TransferResult
from tests.integration.ledger_harness import ASSET, USER, WORLD, audit, between, post, running


async def test_the_first_start_opens_the_world_account_and_later_ones_do_not(fresh_database_url):
    async with running(fresh_database_url, assets=("USD/2", "EUR/2")) as ledger:
        await ledger.open()
        assert [getattr(event, "owner_id", None) for event in ledger.committed[0].events] == ["", ""]
        assert ledger.committed[0].owners == {}
    async with running(fresh_database_url, assets=("USD/2", "EUR/2")) as ledger:
        await ledger.open()
        assert ledger.writer.head.tree.size == 4
    assert (await audit(fresh_database_url))[WORLD] == 0


async def test_a_transfer_moves_its_amount_and_tells_both_balances(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.open(), await ledger.open()
        await ledger.fund(alice, 500)
        command = post(alice, bob, 120, code=7, description="Miete für März", metadata='{"n":1}')
        result = await ledger.ask(command)
        transfer = result.transfer
        assert (result.refusal, result.replayed) == (None, False)
        assert (transfer.debit_balance, transfer.credit_balance) == (380, 120)
        assert (transfer.seq, transfer.block) == (4, 5)
        assert (transfer.description, transfer.metadata, transfer.code) == ("Miete für März", '{"n":1}', 7)
        event = ledger.committed[-1]
        assert (event.height, event.first_seq, event.tree_size, event.events) == (5, 4, 5, [transfer])
        assert event.owners == {alice: USER, bob: USER}
    assert await audit(fresh_database_url) == {WORLD: -500, alice: 380, bob: 120}


async def test_transfers_of_one_block_keep_their_own_askers_assets_and_places(fresh_database_url):
    other_user, other_asset = str(uuid4()), "EUR/2"
    async with running(fresh_database_url, assets=(ASSET, other_asset)) as ledger:
        alice, bob = await ledger.funded(2, 100)
        carol, dave = await ledger.open(asset=other_asset), await ledger.open(asset=other_asset)
        moved: list[PostTransfer | OpenAccount] = [
            PostTransfer(other_user, "user", str(uuid4()), alice, bob, 1, ASSET),
            PostTransfer(USER, "user", str(uuid4()), world_account_id(other_asset), carol, 5, other_asset),
            OpenAccount(str(uuid4()), USER, ASSET),
            PostTransfer(USER, "user", str(uuid4()), carol, dave, 2, other_asset),
        ]
        callers = [ledger.submit(command) for command in moved]
        answers = [await caller.answer for caller in callers]
        posted = [answer.transfer for answer in answers if isinstance(answer, TransferResult) and answer.transfer]
        assert len(posted) == 3
        assert len({transfer.block for transfer in posted}) == 1
    db = await asyncpg.connect(fresh_database_url)
    try:
        rows = await db.fetch("SELECT id::text, user_id::text, asset, seq FROM ledger_transfers")
        stored = {row["id"]: tuple(row)[1:] for row in rows}
        asked = {command.transfer_id: command for command in moved if isinstance(command, PostTransfer)}
        for transfer in posted:
            command = asked[transfer.transfer_id]
            assert stored[transfer.transfer_id] == (command.user_id, command.asset, transfer.seq)
    finally:
        await db.close()
    balances = await audit(fresh_database_url)
    assert (balances[alice], balances[bob], balances[carol], balances[dave]) == (99, 101, 3, 2)


async def test_hundreds_of_callers_at_once_share_blocks_and_every_one_gets_its_own_answer(fresh_database_url):
    async with running(fresh_database_url, max_block=64, balance_cache=8) as ledger:
        accounts = await ledger.funded(30, 10_000)

        async def customer(number: int) -> int:
            chance, done = random.Random(number), 0
            for _ in range(10):
                command = between(chance, accounts, chance.randint(1, 4_000))
                result = await ledger.ask(command)
                assert result.transfer_id == command.transfer_id
                done += result.transfer is not None
            return done

        counts = await asyncio.gather(*(customer(number) for number in range(300)))
        assert 0 < sum(counts) < 3_000, "some are refused for the balance"
        assert ledger.writer.head.height < 200
        seqs = [event.first_seq + at for event in ledger.committed for at in range(len(event.events))]
        assert seqs == list(range(ledger.writer.head.tree.size))
    assert min(b for id_, b in (await audit(fresh_database_url)).items() if id_ != WORLD) >= 0


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_repeated_id_gives_the_original_result_marked_as_a_replay(fresh_database_url, remembered):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        command = post(alice, bob, 60, metadata='{"k":"v"}')
        first = await ledger.ask(command)
        refused = post(alice, bob, 60)
        assert (await ledger.ask(refused)).refusal == "exceeds_credits"
        await ledger.fund(alice, 1_000)
        if not remembered:
            ledger.writer._committer._recent.clear()
        again, still_refused = await asyncio.gather(ledger.ask(command), ledger.ask(refused))
        assert (again.transfer, again.replayed) == (first.transfer, True)
        assert (still_refused.refusal, still_refused.replayed) == ("exceeds_credits", True)
    assert (await audit(fresh_database_url))[bob] == 160


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_repeated_id_with_another_field_is_told_which(fresh_database_url, remembered):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        id_ = str(uuid4())
        await ledger.ask(post(alice, bob, 60, transfer_id=id_))
        for field, other in {
            "debit_account_id": post(WORLD, bob, 60, transfer_id=id_),
            "credit_account_id": post(alice, WORLD, 60, transfer_id=id_),
            "amount": post(alice, bob, 61, transfer_id=id_),
            "asset": post(alice, bob, 60, transfer_id=id_, asset="EUR/2"),
            "code": post(alice, bob, 60, transfer_id=id_, code=1),
            "description": post(alice, bob, 60, transfer_id=id_, description="x"),
            "metadata": post(alice, bob, 60, transfer_id=id_, metadata="{}"),
        }.items():
            if not remembered:
                ledger.writer._committer._recent.clear()
            result = await ledger.ask(other)
            assert (result.refusal, result.transfer) == (f"exists_with_different_{field}", None)
    await audit(fresh_database_url)


async def test_an_id_twice_in_one_block_is_posted_once(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        height = ledger.writer.head.height
        command, new = post(alice, bob, 60), post(alice, bob, 30)
        callers = [
            ledger.submit(each)
            for each in (command, command, post(alice, bob, 1, transfer_id=command.transfer_id), new)
        ]
        first, second, third, fourth = await asyncio.gather(*(caller.answer for caller in callers))
        assert ledger.writer.head.height == height + 1
        assert (first.replayed, second.replayed) == (False, True)
        assert first.transfer == second.transfer
        assert third.refusal == "exists_with_different_amount"
        assert fourth.transfer.debit_balance == 10
    assert (await audit(fresh_database_url))[bob] == 190


async def test_a_block_with_a_forgotten_id_is_decided_again_and_the_new_ones_in_it_are_posted(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        old = post(alice, bob, 60)
        original = await ledger.ask(old)
        ledger.writer._committer._recent.clear()
        callers = [
            ledger.submit(each) for each in (post(alice, bob, 30), old, post(alice, bob, 10), post(alice, bob, 1))
        ]
        results = await asyncio.gather(*(caller.answer for caller in callers))
        assert [result.refusal for result in results] == [None, None, None, "exceeds_credits"]
        assert results[1].transfer == original.transfer
        assert [result.replayed for result in results] == [False, True, False, False]
    assert (await audit(fresh_database_url))[alice] == 0


async def test_refusals_that_may_change_with_time_burn_the_id_and_others_do_not(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, (bob,) = str(uuid4()), await ledger.funded(1)
        unknown, same = post(bob, alice, 5), post(bob, bob, 5)
        assert (await ledger.ask(unknown)).refusal == "credit_account_not_found"
        assert (await ledger.ask(same)).refusal == "accounts_must_be_different"
        height = ledger.writer.head.height
        await ledger.ask(OpenAccount(alice, USER, ASSET))
        repeated = await ledger.ask(unknown)
        assert (repeated.refusal, repeated.replayed) == ("credit_account_not_found", True)
        assert (await ledger.ask(post(bob, alice, 5, transfer_id=same.transfer_id))).transfer is not None
        ledger.writer._committer._recent.clear()
        assert (await ledger.ask(same)).refusal == "exists_with_different_credit_account_id"
        euro = await ledger.open(asset="EUR/2")
        assert (await ledger.ask(post(bob, euro, 5))).refusal == "asset_mismatch"
        assert ledger.writer.head.height == height + 3
        assert getattr(ledger.committed[-3].events[0], "account_id", None) == alice
    await audit(fresh_database_url)


async def test_a_refused_transfer_is_an_event_without_content(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.open(), await ledger.open()
        await ledger.ask(post(alice, bob))
        assert ledger.committed[-1].events == [None]
        assert ledger.committed[-1].owners == {}


async def test_opening_an_account_again_is_harmless_and_opening_another_under_its_id_a_conflict(fresh_database_url):
    async with running(fresh_database_url, balance_cache=1) as ledger:
        command = OpenAccount(str(uuid4()), USER, ASSET, 3)
        first, second = await asyncio.gather(ledger.ask(command), ledger.ask(command))
        await ledger.funded(5)
        assert first == second == await ledger.ask(command)
        with pytest.raises(errors.Conflict):
            await ledger.ask(OpenAccount(command.account_id, str(uuid4()), ASSET, 3))
    await audit(fresh_database_url)


async def test_a_restart_reads_the_head_and_continues_the_chain(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        head = ledger.writer.head
        command = post(alice, bob, 40)
        first = await ledger.ask(command)
    for _ in range(3):
        async with running(fresh_database_url) as ledger:
            replay = await ledger.ask(command)
            assert (replay.transfer, replay.replayed) == (first.transfer, True)
            await ledger.ask(post(alice, bob, 10))
    async with running(fresh_database_url) as ledger:
        assert ledger.writer.head.height == head.height + 4
    assert (await audit(fresh_database_url))[alice] == 30


async def test_of_two_writers_one_commits_and_the_other_ends_without_harm(fresh_database_url):
    async with running(fresh_database_url) as first:
        alice, bob = await first.funded(2, 100)
        with pytest.raises(Fenced):  # noqa: PT012 - the block's end raises
            async with running(fresh_database_url) as second:
                assert (await second.ask(post(alice, bob, 60))).transfer is not None
                lost = first.submit(post(alice, bob, 60))
                async with asyncio.timeout(10):
                    await first.task
                raise AssertionError
        assert not lost.answer.done(), "nobody is told what is not known"
        with pytest.raises(errors.DatabaseUnavailable):
            first.submit(post(alice, bob))
        async with running(fresh_database_url) as third:
            assert (await third.ask(post(alice, bob, 60))).refusal == "exceeds_credits"
        assert (await audit(fresh_database_url))[alice] == 40
        with pytest.raises(Fenced):
            await first.task
        first.task = asyncio.create_task(asyncio.sleep(0))


async def test_too_many_waiting_commands_are_refused_before_any_effect(fresh_database_url):
    async with running(fresh_database_url, max_waiting=3, max_block=2) as ledger:
        alice, bob = await ledger.funded(2, 100)
        callers = [ledger.submit(post(alice, bob)) for _ in range(3)]
        refused = post(alice, bob)
        with pytest.raises(errors.Overloaded):
            ledger.submit(refused)
        await asyncio.gather(*(caller.answer for caller in callers))
        assert not (await ledger.ask(refused)).replayed
    assert (await audit(fresh_database_url))[alice] == 96


async def test_a_caller_that_no_longer_waits_is_not_begun(fresh_database_url):
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        command = post(alice, bob)
        caller = ledger.submit(command)
        caller.expired = True
        with pytest.raises(errors.CallTimeout):
            await caller.answer
        assert not (await ledger.ask(command)).replayed
    assert (await audit(fresh_database_url))[alice] == 99


async def test_stopping_commits_what_waits_and_takes_no_more(fresh_database_url):
    async with running(fresh_database_url, max_block=2) as ledger:
        alice, bob = await ledger.funded(2, 100)
        callers = [ledger.submit(post(alice, bob)) for _ in range(5)]
        ledger.writer.stop()
        with pytest.raises(errors.Overloaded):
            ledger.submit(post(alice, bob))
        await ledger.task
        assert all(caller.answer.result().transfer for caller in callers)
    assert (await audit(fresh_database_url))[alice] == 95


@pytest.mark.parametrize(
    "broken",
    [
        {"transfer_id": "X"},
        {"debit_account_id": "00000000-0000-0000-0000-00000000000A"},
        {"user_id": ""},
        {"amount": 0},
        {"amount": 2**53},
        {"code": -1},
        {"code": 2**31},
        {"asset": "usd"},
        {"description": "a\x00b"},
        {"description": "x" * 1_025},
        {"metadata": "\ud800"},
    ],
)
async def test_malformed_commands_are_refused_before_they_can_spoil_a_block(fresh_database_url, broken):
    async with running(fresh_database_url) as ledger:
        fields = {name: getattr(post(WORLD, WORLD), name) for name in post(WORLD, WORLD).__struct_fields__}
        with pytest.raises(errors.BadRequest):
            ledger.submit(type(post(WORLD, WORLD))(**fields | broken))


async def test_a_balance_gone_from_the_database_aborts_the_block_and_ends_the_writer(fresh_database_url):
    with pytest.raises(asyncpg.DivisionByZeroError):  # noqa: PT012 - the block's end raises
        async with running(fresh_database_url) as ledger:
            alice, bob = await ledger.funded(2, 100)
            connection = await asyncpg.connect(fresh_database_url)
            await connection.execute("DELETE FROM ledger_accounts WHERE id = $1", alice)
            caller = ledger.submit(post(alice, bob))
            await asyncio.wait([ledger.task], timeout=10)
            assert not caller.answer.done()
            assert await connection.fetchval("SELECT count(*) FROM ledger_transfers") == 2
            await connection.close()
