"""Large blocks: each is decided while the last one is being written, and nothing of that shows."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from uuid import uuid4

import asyncpg
import pytest

from bitnexus import errors
from bitnexus.actors.ledger.ahead import LARGE
from bitnexus.actors.messages import PostTransfers, TransferRequest, TransferResults
from tests.integration.ledger_harness import ASSET, USER, Caller, audit, running

DEADLINE_S = 60
CALLERS, BATCHES = 6, 8


def batch(chance: random.Random, accounts: list[str]) -> PostTransfers:
    """A large one, of amounts that cannot all be paid."""
    transfers = []
    for _ in range(LARGE):
        debit, credit = chance.sample(accounts, 2)
        transfers.append(TransferRequest(str(uuid4()), debit, credit, chance.randint(1, 400), ASSET))
    return PostTransfers(USER, "user", transfers)


async def test_batches_that_come_while_a_large_block_is_written_are_decided_meanwhile(fresh_database_url):
    async with running(fresh_database_url, max_block=2 * LARGE) as ledger:
        accounts = await ledger.funded(20, 10_000)

        async def customer(number: int) -> None:
            chance = random.Random(number)
            for _ in range(BATCHES):
                command = batch(chance, accounts)
                answer = await ledger.ask(command)
                assert [each.transfer_id for each in answer.results] == [t.transfer_id for t in command.transfers]
                # Asked again at once, when the next block has been decided on top of the first.
                again = await ledger.ask(command)
                assert all(each.replayed for each in again.results)
                assert [each.refusal for each in again.results] == [each.refusal for each in answer.results]

        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*map(customer, range(CALLERS)))
        assert ledger.writer.decided_ahead > 0
        seqs = [event.first_seq + at for event in ledger.committed for at in range(len(event.events))]
        assert seqs == list(range(ledger.writer.head.tree.size))
    await audit(fresh_database_url)


@asynccontextmanager
async def no_block_can_be_written(url: str) -> AsyncIterator[None]:
    """Blocks wait for a lock until the end of this one."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ledger_blocks IN SHARE MODE")
            yield
    finally:
        await connection.close()


def moves(count: int, debit: str, credit: str, amount: int = 1) -> list[TransferRequest]:
    return [TransferRequest(str(uuid4()), debit, credit, amount, ASSET) for _ in range(count)]


async def test_callers_are_answered_though_all_who_came_meanwhile_have_given_up(fresh_database_url):
    async with running(fresh_database_url, max_block=2 * LARGE) as ledger:
        payer, payee = await ledger.funded(2, 10_000)
        await ledger.ask(PostTransfers(USER, "user", moves(LARGE, payer, payee)))  # the statement is prepared
        async with no_block_can_be_written(fresh_database_url):
            first = ledger.submit(PostTransfers(USER, "user", moves(LARGE, payer, payee)))
            await asyncio.sleep(0.1)
            gone = Caller()
            gone.expired = True
            ledger.writer.submit(PostTransfers(USER, "user", moves(LARGE, payer, payee)), gone)
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(errors.CallTimeout):
                    await gone.answer
            assert not first.answer.done()
        async with asyncio.timeout(DEADLINE_S):
            answer = await first.answer
        assert [each.refusal for each in answer.results] == [None] * LARGE


async def test_accounts_that_left_memory_are_loaded_when_a_block_is_decided_again(fresh_database_url):
    async with running(fresh_database_url, max_block=2 * LARGE, balance_cache=4) as ledger:
        poor, pauper = [await ledger.open() for _ in range(2)]
        rich = await ledger.funded(6, 100_000)
        (known,) = moves(1, poor, pauper)
        (answer,) = (await ledger.ask(PostTransfers(USER, "user", [known]))).results
        assert answer.refusal == "exceeds_credits"
        ledger.writer._committer._recent.clear()  # as if tens of thousands of others had come since
        async with no_block_can_be_written(fresh_database_url):
            others = [
                moves(LARGE, rich[0], rich[1]),
                moves(1, rich[2], rich[3]),
                moves(1, rich[4], rich[5]),
                moves(1, poor, pauper),
            ]
            first = ledger.submit(PostTransfers(USER, "user", list(chain.from_iterable(others))))
            await asyncio.sleep(0.1)
            second = ledger.submit(PostTransfers(USER, "user", [*moves(LARGE + 10, poor, pauper), known]))
            await asyncio.sleep(0.3)
        async with asyncio.timeout(DEADLINE_S):
            await first.answer
            answer = await second.answer
        assert ledger.writer.decided_ahead == 1
        assert {each.refusal for each in answer.results} == {"exceeds_credits"}
    await audit(fresh_database_url)


async def test_callers_are_answered_though_the_next_statement_does_not_leave(fresh_database_url):
    async with running(fresh_database_url, max_block=2 * LARGE) as ledger:
        payer, payee = await ledger.funded(2, 10_000)
        await ledger.ask(PostTransfers(USER, "user", moves(LARGE, payer, payee)))  # the statement is prepared
        metadata = '"' + "m" * 9_000 + '"'
        large = [TransferRequest(str(uuid4()), payer, payee, 1, ASSET, metadata=metadata) for _ in range(LARGE)]
        backend, height = ledger.connections[0].backend_pid, ledger.writer.head.height
        locked = AsyncExitStack()
        await locked.enter_async_context(no_block_can_be_written(fresh_database_url))
        first = ledger.submit(PostTransfers(USER, "user", moves(LARGE, payer, payee)))
        await asyncio.sleep(0.1)
        second = ledger.submit(PostTransfers(USER, "user", large))
        await asyncio.sleep(0.3)
        unlocking = asyncio.create_task(locked.aclose())
        async with asyncio.timeout(DEADLINE_S):
            while ledger.writer.head.height == height:
                await asyncio.sleep(0)
        os.kill(backend, signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                await first.answer
            assert not second.answer.done()
        finally:
            os.kill(backend, signal.SIGCONT)
        async with asyncio.timeout(DEADLINE_S):
            await second.answer
            await unlocking
        assert ledger.writer.decided_ahead == 1


async def test_what_was_decided_on_a_block_that_was_never_written_is_decided_again(fresh_database_url):
    admin = await asyncpg.connect(fresh_database_url)
    async with running(fresh_database_url, max_block=2 * LARGE) as ledger:
        accounts = await ledger.funded(20, 10_000)
        answered: dict[str, TransferResults] = {}
        running_out = asyncio.Event()

        async def customer(number: int) -> None:
            chance = random.Random(number)
            while not running_out.is_set():
                command = batch(chance, accounts)
                key = command.transfers[0].transfer_id
                while key not in answered:
                    try:
                        answered[key] = await ledger.ask(command)
                    except errors.DatabaseUnavailable:
                        await asyncio.sleep(0.001)

        customers = [asyncio.create_task(customer(number)) for number in range(CALLERS)]
        chance, kills = random.Random(1), 0
        async with asyncio.timeout(DEADLINE_S):
            while kills < 12 or not ledger.writer.decided_ahead:
                height = ledger.writer.head.height
                while ledger.writer.head.height <= height:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(chance.uniform(0, 0.03))
                kills += await admin.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'bitnexus/ledger'"
                )
            running_out.set()
            await asyncio.gather(*customers)
    stored = {str(row["id"]): row["refusal"] for row in await admin.fetch("SELECT id, refusal FROM ledger_transfers")}
    told = {each.transfer_id: each.refusal for answer in answered.values() for each in answer.results}
    assert {id_: stored[id_] for id_ in told} == told
    assert len(stored) == len(told) + len(accounts)
    await admin.close()
    await audit(fresh_database_url)
