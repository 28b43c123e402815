"""What transaction actors are rebuilt from: accounts, limits, and what was spent on the day of the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from bitnexus.actors.messages import Limit, LimitsSet, PostTransfers, TransferRequest
from bitnexus.errors import NotFound, PreconditionFailed
from bitnexus.storage import user_limits, users
from bitnexus.storage.user_limits import UserState
from tests.integration.ledger_harness import RunningWriter, running

DAY_US = 86_400_000_000
ASSET = "USD/2"
ADMIN = str(uuid4())


@pytest.fixture
async def ledger(fresh_database_url) -> AsyncIterator[RunningWriter]:
    async with running(fresh_database_url) as writer:
        yield writer


@pytest.fixture
async def db(fresh_database_url) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh_database_url)
    yield connection
    await connection.close()


def new_id() -> str:
    return str(uuid4())


async def new_user(db) -> str:
    id_ = new_id()
    await users.insert(db, user_id=id_, email=f"{id_}@example.com", name="", password_hash="!")
    return id_


async def limited(db, user_id: str, *limits: Limit, versions=None, now_us: int = 0):
    async with db.transaction():
        return await user_limits.replace(db, user_id, limits, set_by=ADMIN, versions=versions, now_us=now_us)


async def limits_of(db, user_id: str, *, now_us: int) -> LimitsSet:
    found = (await user_limits.states_of(db, [user_id], now_us=now_us))[user_id].limits
    assert found is not None
    return found


async def test_the_accounts_of_many_users_are_read_at_once(ledger, db):
    alice, bob, nobody = (new_id() for _ in range(3))
    accounts = [await ledger.open(owner=owner) for owner in (alice, bob, alice)]
    found = await user_limits.states_of(db, [alice, bob, nobody], now_us=0)
    assert set(found) == {alice, bob}
    assert set(found[alice].accounts) == {accounts[0], accounts[2]}
    assert found[bob] == UserState([accounts[1]])


async def test_what_was_spent_today_is_what_the_user_posted_or_reserved_from_own_accounts(ledger, db):
    ann, ben = await new_user(db), await new_user(db)
    a, a2, b = [await ledger.open(owner=owner) for owner in (ann, ann, ben)]
    for account in (a, a2, b):
        await ledger.fund(account, 1_000)
    pending, other = new_id(), new_id()
    transfers = [
        TransferRequest(new_id(), a, b, 100, ASSET),
        TransferRequest(new_id(), a2, b, 20, ASSET),
        TransferRequest(pending, a, b, 3, ASSET, "pending"),
        TransferRequest(new_id(), a, b, 3, ASSET, "post_pending", pending_id=pending),
        TransferRequest(other, a, b, 4, ASSET, "pending"),
        TransferRequest(new_id(), a, b, 4, ASSET, "void_pending", pending_id=other),
        TransferRequest(new_id(), a, b, 900_000, ASSET),  # refused
        TransferRequest(new_id(), a, b, 7, ASSET, refuse="daily_limit_exceeded"),
    ]
    answer = await ledger.ask(PostTransfers(ann, "user", transfers))
    assert [each.refusal for each in answer.results] == [None] * 6 + ["exceeds_credits", "daily_limit_exceeded"]
    await ledger.ask(PostTransfers(ADMIN, "admin", [TransferRequest(new_id(), a, b, 50, ASSET)]))
    await ledger.ask(PostTransfers(ben, "user", [TransferRequest(new_id(), b, a, 11, ASSET)]))
    for user_id in (ann, ben):
        await limited(db, user_id, Limit(ASSET, None, 1_000), Limit("EUR/2", 1))
    now_us = answer.results[0].transfer.time_us
    found = await user_limits.states_of(db, [ann, ben], now_us=now_us)
    assert sorted(found[ann].accounts) == sorted([a, a2])
    of_ann, of_ben = found[ann].limits, found[ben].limits
    assert of_ann is not None
    assert of_ben is not None
    assert (of_ann.spent, of_ben.spent) == ({ASSET: 127, "EUR/2": 0}, {ASSET: 11, "EUR/2": 0})
    assert (of_ann.day, of_ann.as_of_seq) == (now_us // DAY_US, ledger.writer.head.tree.size - 1)
    # A clock behind the log's time is not believed, and on the next day nothing has been spent.
    assert await limits_of(db, ann, now_us=now_us - DAY_US) == of_ann
    late = await limits_of(db, ann, now_us=now_us + DAY_US)
    assert (late.day, late.spent) == (now_us // DAY_US + 1, {ASSET: 0, "EUR/2": 0})


async def test_a_day_begins_between_two_blocks_wherever_they_are(ledger, db):
    ann = await new_user(db)
    a, b = await ledger.open(owner=ann), await ledger.open()
    await ledger.fund(a, 1_000)
    made = []
    for _ in range(9):
        answer = await ledger.ask(PostTransfers(ann, "user", [TransferRequest(new_id(), a, b, 1, ASSET)]))
        made.append(answer.results[0].transfer)
    await limited(db, ann, Limit(ASSET, None, 1_000))
    today = made[-1].time_us // DAY_US
    for at, first_of_today in enumerate(made):
        # As if what came before this one had been yesterday's: the log's times alone are moved.
        await db.execute(
            "UPDATE ledger_blocks SET time_us = time_us - $2 WHERE height < $1 AND time_us >= $3",
            first_of_today.block,
            DAY_US,
            today * DAY_US,
        )
        found = await limits_of(db, ann, now_us=made[-1].time_us)
        assert found.spent == {ASSET: len(made) - at}


async def test_a_user_with_limits_and_no_account_has_a_state(ledger, db):
    ann = await new_user(db)
    set_ = await limited(db, ann, Limit(ASSET, 5))
    assert await user_limits.states_of(db, [ann], now_us=0) == {ann: UserState([], set_)}


async def test_versions_grow_and_guard_against_each_other(ledger, db):
    ann = await new_user(db)
    first = await limited(db, ann, Limit(ASSET, 5), versions={0})
    with pytest.raises(PreconditionFailed):
        await limited(db, ann, Limit(ASSET, 6), versions={0})
    assert await limited(db, ann, Limit(ASSET, 5), versions={0}) == first  # it is what is there
    cleared = await limited(db, ann, versions={first.version})
    assert (await user_limits.of_user(db, ann), cleared.limits) == ((0, []), [])
    again = await limited(db, ann, Limit(ASSET, 5), versions={0})
    assert first.version < cleared.version < again.version


async def test_nobody_and_a_deleted_user_have_no_limits(ledger, db):
    ann = await new_user(db)
    await users.delete(db, ann, versions=None)
    for user_id in (ann, new_id()):
        with pytest.raises(NotFound):
            await limited(db, user_id, Limit(ASSET, 5))


async def test_the_state_of_one_user_is_read_by_the_indexes_whatever_else_is_there(ledger, db):
    await db.execute("SET enable_seqscan = off")
    plan = "\n".join(row[0] for row in await db.fetch("EXPLAIN " + user_limits._STATES, [ADMIN], 0))
    for index in ("ledger_accounts_owner", "user_limits_pkey", "ledger_transfers_debit", "ledger_blocks_pkey"):
        assert index in plan
    assert "Seq Scan" not in plan
