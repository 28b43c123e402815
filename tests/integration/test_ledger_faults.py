"""The writer when the database fails it: everybody gets the truth, and everything happens exactly once."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

from bitnexus import errors
from bitnexus.actors.ledger.committer import Fenced
from bitnexus.actors.messages import TransferResult
from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres
from tests.integration.ledger_harness import USER, WORLD, RunningWriter, audit, between, post, running

DEADLINE_S = 20


async def until(condition) -> None:
    """Wait until the awaited condition is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.005)


async def blocked(admin: asyncpg.Connection, backends: int) -> None:
    """Wait until so many of the ledger's sessions wait for a lock."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'bitnexus/ledger' AND wait_event_type = 'Lock'
    """

    async def enough() -> bool:
        return await admin.fetchval(query) >= backends

    await until(enough)


async def lock(url: str, account: str):
    """Lock the account's row, so that a commit that changes it waits; the function that unlocks it."""
    connection = await asyncpg.connect(url)
    await connection.execute("BEGIN")
    await connection.fetch("SELECT FROM ledger_accounts WHERE id = $1 FOR UPDATE", account)
    return connection.close


async def test_connections_killed_in_the_middle_of_commits_lose_nothing_and_double_nothing(fresh_database_url):
    admin = await asyncpg.connect(fresh_database_url)
    async with running(fresh_database_url, max_block=50) as ledger:
        accounts = await ledger.funded(20, 1_000)
        answered: dict[str, TransferResult] = {}
        stop = asyncio.Event()

        async def customer(number: int) -> None:
            chance = random.Random(number)
            while not stop.is_set():
                command = between(chance, accounts, chance.randint(1, 400))
                while command.transfer_id not in answered:
                    try:
                        answered[command.transfer_id] = await ledger.ask(command)
                    except errors.DatabaseUnavailable:
                        await asyncio.sleep(0.001)

        customers = [asyncio.create_task(customer(number)) for number in range(100)]
        kills = 0
        async with asyncio.timeout(DEADLINE_S):
            for number in range(40):
                height = ledger.writer.head.height

                async def grown(height: int = height) -> bool:
                    return ledger.writer.head.height > height

                await until(grown)
                await asyncio.sleep(random.Random(number).uniform(0, 0.004))
                kills += await admin.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'bitnexus/ledger'"
                )
            stop.set()
            await asyncio.gather(*customers)
        assert kills >= 30
        seqs = [event.first_seq + at for event in ledger.committed for at in range(len(event.events))]
        assert seqs == list(range(ledger.writer.head.tree.size)), "every committed block is told of, once"
    stored = {str(row["id"]): row for row in await admin.fetch("SELECT * FROM ledger_transfers")}
    for id_, result in answered.items():
        row = stored[id_]
        assert row["refusal"] == result.refusal
        assert result.transfer is None or row["seq"] == result.transfer.seq
    assert len(stored) == len(answered) + len(accounts)
    await admin.close()
    await audit(fresh_database_url)


async def test_a_commit_that_arrives_after_the_connection_was_given_up_is_found_and_answered(fresh_database_url):
    admin = await asyncpg.connect(fresh_database_url)
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        unlock = await lock(fresh_database_url, alice)
        callers = [ledger.submit(post(alice, bob, 30)), ledger.submit(post(alice, bob, 80))]
        await blocked(admin, 1)
        # The client's side goes; the server's, which waits for the lock, does not notice and will commit.
        ledger.connections[-1].abort()
        await blocked(admin, 2)
        await unlock()
        first, second = await asyncio.gather(*(caller.answer for caller in callers))
        assert first.transfer.debit_balance == 70
        assert second.refusal == "exceeds_credits"
        assert (first.replayed, second.replayed) == (False, False)
        assert (await ledger.ask(post(alice, bob, 70))).transfer.debit_balance == 0
    await admin.close()
    assert (await audit(fresh_database_url))[bob] == 200


async def test_a_late_commit_that_nobody_waits_for_any_more_is_still_taken_into_account(fresh_database_url):
    admin = await asyncpg.connect(fresh_database_url)
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        unlock = await lock(fresh_database_url, alice)
        command = post(alice, bob, 30)
        caller = ledger.submit(command)
        await blocked(admin, 1)
        caller.expired = True
        ledger.connections[-1].abort()
        with pytest.raises(errors.CallTimeout):
            await caller.answer
        other = ledger.submit(post(alice, bob, 80))
        await blocked(admin, 2)
        await unlock()
        assert (await other.answer).refusal == "exceeds_credits"
        assert (await ledger.ask(command)).replayed
        assert [len(event.events) for event in ledger.committed[-2:]] == [1, 1]
    await admin.close()
    assert (await audit(fresh_database_url))[alice] == 70


async def test_a_commit_rolled_back_with_its_connection_is_made_again(fresh_database_url):
    admin = await asyncpg.connect(fresh_database_url)
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        unlock = await lock(fresh_database_url, alice)
        caller = ledger.submit(post(alice, bob, 30))
        await blocked(admin, 1)
        await admin.fetchval("SELECT pg_terminate_backend($1)", ledger.connections[-1].backend_pid)
        await blocked(admin, 1)
        await unlock()
        assert (await caller.answer).transfer.debit_balance == 70
    await admin.close()
    await audit(fresh_database_url)


async def test_a_commit_that_the_server_gave_up_is_made_again(fresh_database_url):
    admin = await asyncpg.connect(fresh_database_url)
    async with running(fresh_database_url) as ledger:
        alice, bob = await ledger.funded(2, 100)
        unlock = await lock(fresh_database_url, alice)
        caller = ledger.submit(post(alice, bob, 30))
        await blocked(admin, 1)
        first = ledger.connections[-1]
        await admin.fetchval("SELECT pg_cancel_backend($1)", first.backend_pid)
        async with asyncio.timeout(DEADLINE_S):
            while ledger.connections[-1] is first:
                await asyncio.sleep(0.005)
        await blocked(admin, 1)
        assert len(ledger.writer._committer._attempts) == 1, "the first one is known not to be written"
        await unlock()
        assert (await caller.answer).transfer.debit_balance == 70
    await admin.close()
    await audit(fresh_database_url)


async def test_a_writer_stopped_while_the_database_is_away_ends_in_order(tmp_path):
    server = EmbeddedPostgres(tmp_path)
    await schema.migrate(server.start())
    ledger = RunningWriter(server.url)
    async with asyncio.timeout(DEADLINE_S):
        await ledger.writer.ready()
        await ledger.funded(1)
        await asyncio.to_thread(server.stop)
        with pytest.raises(errors.DatabaseUnavailable):
            await ledger.fund(WORLD, 1)
        ledger.writer.stop()
        await ledger.task


async def test_another_s_block_found_after_a_lost_connection_ends_the_writer(fresh_database_url):
    with pytest.raises(Fenced):  # noqa: PT012 - the block's end raises
        async with running(fresh_database_url) as ledger:
            alice, bob = await ledger.funded(2, 100)
            async with running(fresh_database_url) as other:
                await other.ask(post(alice, bob, 60))
            ledger.connections[-1].abort()
            caller = ledger.submit(post(alice, bob, 60))
            await asyncio.wait([ledger.task], timeout=DEADLINE_S)
            assert not caller.answer.done()
    await audit(fresh_database_url)


async def test_while_the_database_is_away_commands_are_refused_and_afterwards_it_goes_on_by_itself(tmp_path):
    server = EmbeddedPostgres(tmp_path)
    url = server.start()
    try:
        await schema.migrate(url)
        ledger = RunningWriter(url)
        async with asyncio.timeout(DEADLINE_S):
            await ledger.writer.ready()
        alice, bob = await ledger.funded(2, 100)
        await asyncio.to_thread(server.stop, immediate=True)
        command, refused = post(alice, bob, 30), 0
        with pytest.raises(errors.DatabaseUnavailable):
            await ledger.ask(command)
        with pytest.raises(errors.DatabaseUnavailable):
            ledger.submit(command)
        assert ledger.writer.head.height > 0
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(DEADLINE_S):
            await ledger.writer.ready()
            result = await ledger.ask(command)
        assert (result.replayed, result.transfer.debit_balance, refused) == (False, 70, 0)
        ledger.writer.stop()
        await ledger.task
        await audit(url)
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_writer_started_while_the_database_is_away_serves_when_it_comes(tmp_path):
    server = EmbeddedPostgres(tmp_path)
    url = server.start()
    try:
        await schema.migrate(url)
        server.stop()
        ledger = RunningWriter(url)
        with pytest.raises(errors.DatabaseUnavailable):
            ledger.submit(post(WORLD, USER))
        with pytest.raises(errors.DatabaseUnavailable):
            _ = ledger.writer.head
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(DEADLINE_S):
            await ledger.writer.ready()
            await ledger.funded(1)
        ledger.writer.stop()
        await ledger.task
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_server_killed_in_the_middle_of_commits_keeps_what_was_acknowledged(tmp_path):
    server = EmbeddedPostgres(tmp_path)
    url = server.start()
    try:
        await schema.migrate(url)
        ledger = RunningWriter(url)
        async with asyncio.timeout(DEADLINE_S):
            await ledger.writer.ready()
        accounts = await ledger.funded(10, 1_000)
        answered: dict[str, TransferResult] = {}
        stop = asyncio.Event()

        async def customer(number: int) -> None:
            chance = random.Random(number)
            while not stop.is_set():
                command = between(chance, accounts, 1)
                while command.transfer_id not in answered:
                    try:
                        answered[command.transfer_id] = await ledger.ask(command)
                    except errors.DatabaseUnavailable:
                        await asyncio.sleep(0.01)

        customers = [asyncio.create_task(customer(number)) for number in range(30)]
        for _ in range(2):
            before = len(answered)

            async def progress(before: int = before) -> bool:
                return len(answered) > before + 200

            await until(progress)
            await asyncio.to_thread(server.stop, immediate=True)
            await asyncio.to_thread(server.start)
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*customers)
        ledger.writer.stop()
        await ledger.task
        connection = await asyncpg.connect(url)
        stored = {str(row["id"]): row["seq"] for row in await connection.fetch("SELECT id, seq FROM ledger_transfers")}
        await connection.close()
        assert len(stored) == len(answered) + len(accounts)
        assert all(result.transfer and stored[id_] == result.transfer.seq for id_, result in answered.items())
        await audit(url)
    finally:
        await asyncio.to_thread(server.stop)
