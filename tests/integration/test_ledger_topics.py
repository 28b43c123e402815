"""What queries count of a topic is what the log's events make of it: one rule, written twice."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import asyncpg
import pytest
from click.testing import CliRunner
from msgspec import structs

from bitnexus.actors.messages import (
    AnnotateTransfer,
    ChangeAccount,
    PostTransfers,
    TransferAnnotated,
    TransferRequest,
    TransferResults,
)
from bitnexus.actors.notifier.events import topic_events
from bitnexus.cli.db import command
from bitnexus.config import use
from bitnexus.config.settings import Settings
from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import block_notices, ledger, ledger_topics, notification_reads
from tests.integration.ledger_harness import ASSET, USER, WORLD, post, running

FAMILIES = ("transaction", "notification")


async def something_of_everything(running_ledger, chance: random.Random, owners: list[str]) -> None:
    """Two accounts for each owner, and what can happen to them, within users and between them."""
    accounts = [await running_ledger.open(owner=owner) for owner in owners for _ in range(2)]
    for account in accounts:
        await running_ledger.fund(account, 1_000)
    for _ in range(60):
        debit, credit = chance.sample([*accounts, WORLD], 2)
        kind = chance.choice(["post", "pending", "reversal", "void_pending", "post_pending", "annotate", "frozen"])
        if kind == "frozen":
            for action in ("freeze", "unfreeze"):
                await running_ledger.ask(ChangeAccount(USER, "admin", chance.choice(accounts), action))
            continue
        first = "pending" if "pending" in kind else "post"
        made = TransferRequest(str(uuid4()), debit, credit, 2, ASSET, kind=first, timeout_s=chance.choice([0, 0, 1]))
        if first == "post":
            made = TransferRequest(made.transfer_id, debit, credit, chance.choice([2, 2, 9_000]), ASSET)
        results = await running_ledger.ask(PostTransfers(USER, "admin", [made]))
        assert isinstance(results, TransferResults)
        if results.results[0].transfer is None or kind == first:
            continue
        if kind == "annotate":
            words = AnnotateTransfer(USER, "user", str(uuid4()), made.transfer_id, debit, "words")
            assert isinstance(await running_ledger.ask(words), TransferAnnotated)
        else:
            accounts_of = (credit, debit) if kind == "reversal" else (debit, credit)
            back = kind == "reversal"
            by = {"pending_id": "" if back else made.transfer_id, "reverses_id": made.transfer_id if back else ""}
            more = structs.replace(TransferRequest(str(uuid4()), *accounts_of, 2, ASSET, kind=kind), **by)
            await running_ledger.ask(PostTransfers(USER, "admin", [more]))
    # However the dice fell: one that expires, to an account that is not frozen.
    await running_ledger.ask(ChangeAccount(USER, "admin", accounts[0], "unfreeze"))
    short = TransferRequest(str(uuid4()), WORLD, accounts[0], 2, ASSET, kind="pending", timeout_s=1)
    await running_ledger.ask(PostTransfers(USER, "admin", [short]))
    async with asyncio.timeout(10):
        while not any(
            getattr(event, "kind", "") == "expire_pending"
            for block in running_ledger.committed
            for event in block.events
        ):
            await running_ledger.ask(post(WORLD, accounts[0], 1))
            await asyncio.sleep(0.05)


@pytest.fixture
async def db(fresh_database_url):
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


async def test_counts_and_pages_of_every_topic_are_what_the_log_tells(db, fresh_database_url):
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    owners = [str(uuid4()) for _ in range(3)]
    async with running(fresh_database_url) as running_ledger:
        await something_of_everything(running_ledger, chance, owners)
    page = await ledger.events_after(db, -1, limit=100_000)
    places: dict[str, set[int]] = {owner: set() for owner in owners}
    for owner in owners:
        for family in FAMILIES:
            topic = f"{family}:{owner}"
            told = [each for event in page.told for each in topic_events(event, page.owners, (topic,))]
            places[owner].update(each.seq for each in told)
            assert told, (seed, topic)
            for position in (*chance.sample(range(len(page.events)), 8), len(page.events) - 1):
                due = [each for each in told if each.seq <= position]
                count = await ledger_topics.count_events(db, family, owner, position)
                assert count == sum(len(each.events) for each in due), (seed, topic, position)
                limit, skip = chance.randint(1, 12), chance.randint(0, 3)
                events, own = await ledger_topics.last_events(
                    db, family, owner, up_to_seq=position, limit=limit, skip=skip
                )
                found = [each for event in events for each in topic_events(event, own, (topic,))]
                due = due[: max(0, len(due) - skip)]
                assert found == due[max(0, len(due) - limit) :], (seed, topic, position, limit, skip)
    for after in (-1, *chance.sample(range(len(page.events)), 3)):
        bounds = {"after_seq": after, "up_to_seq": len(page.events), "limit": 1_000}
        transfers, _ = await ledger.transfers_of_owners(db, owners, **bounds)
        others = await ledger.other_places_of_owners(db, owners, **bounds)
        assert sorted([*(each.seq for each in transfers), *others]) == sorted(
            seq for seq in set().union(*places.values()) if seq > after
        ), seed


async def test_a_count_goes_on_from_what_was_kept_and_is_never_set_back(db, fresh_database_url, monkeypatch):
    monkeypatch.setattr(ledger_topics, "KEPT_FROM", 5)
    owner = str(uuid4())
    async with running(fresh_database_url) as running_ledger:
        account = await running_ledger.open(owner=owner)
        for _ in range(12):
            await running_ledger.fund(account, 1)
    last = await ledger.last_seq(db)
    kept = "SELECT position, events FROM topic_counts WHERE family = 'transaction'"
    assert await ledger_topics.count_events(db, "transaction", owner, last - 4) == 8
    assert tuple(await db.fetchrow(kept)) == (last - 4, 8)
    assert await ledger_topics.count_events(db, "transaction", owner, last) == 12
    assert await ledger_topics.count_events(db, "transaction", owner, last - 6) == 6, "from before what is kept"
    assert tuple(await db.fetchrow(kept)) == (last - 4, 8)


async def test_an_epoch_is_one_logs_and_changes_with_the_database(db, fresh_database_url, postgres):
    assert await ledger_topics.epoch_of_log(db) is None
    async with running(fresh_database_url):
        pass
    epoch = await ledger_topics.epoch_of_log(db)
    assert epoch == await ledger_topics.epoch_of_log(db)
    assert epoch is not None
    assert len(epoch) == 16
    use(Settings(database_url=fresh_database_url, profile="test"))
    done = await asyncio.to_thread(CliRunner().invoke, command, ["new-epoch"])
    assert (done.exit_code, "A new epoch has begun" in done.output) == (0, True), done.output
    before, epoch = epoch, await ledger_topics.epoch_of_log(db)
    assert epoch not in {None, before}
    await db.close()
    name = f"restored_{uuid4().hex}"
    admin = await asyncpg.connect(postgres.url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {fresh_database_url.split('@/')[1].split('?')[0]}")
    try:
        restored = await asyncpg.connect(postgres.url_of(name))
        other = await ledger_topics.epoch_of_log(restored)
        await restored.close()
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
    assert other is not None
    assert other != epoch


async def test_a_read_mark_only_goes_on_and_counts_for_one_log(db):
    user = str(uuid4())
    assert await notification_reads.read_up_to(db, user, "a") == 0
    assert [await notification_reads.mark_read(db, user, "a", n) for n in (3, 2, 5)] == [3, 3, 5]
    assert await notification_reads.read_up_to(db, user, "b") == 0
    assert await notification_reads.mark_read(db, user, "b", 1) == 1
    assert await notification_reads.read_up_to(db, user, "a") == 0


async def test_each_committed_block_is_noticed_until_the_connection_is_lost(db, fresh_database_url):
    noticed: asyncio.Queue[int] = asyncio.Queue()
    listening = asyncio.create_task(block_notices.listen(fresh_database_url, "listening", noticed.put_nowait))
    pid = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bitnexus/listening' AND query LIKE 'LISTEN%'"
    async with asyncio.timeout(10):
        while (server_pid := await db.fetchval(pid)) is None:
            await asyncio.sleep(0.02)
        async with running(fresh_database_url) as running_ledger:
            account = await running_ledger.open()
            await running_ledger.fund(account, 1)  # a plain block
            await running_ledger.ask(ChangeAccount(USER, "admin", account, "freeze"))  # one of the full form
            sizes = [block.tree_size for block in running_ledger.committed]
            assert [await noticed.get() for _ in sizes] == sizes
        await db.execute("SELECT pg_terminate_backend($1)", server_pid)
        with pytest.raises(DatabaseUnavailable):
            await listening
