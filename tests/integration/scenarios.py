"""What happens in a small tree: ``python -m tests.integration.scenarios NAME``; `test_small_tree` runs them all."""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid

import asyncpg
import orjson
import pytest

from bitnexus.actors.messages import GetMetrics, Metrics, PostTransfer
from bitnexus.actors.notifier.delivery import SCAN
from bitnexus.config import get_settings
from bitnexus.errors import NotFound, RuntimeFault, TooManyInFlight
from bitnexus.supervision.inspection_messages import GetEnds, GetLightActor, GetLightActors, OperateLightActor
from tests.integration import poison as poisoned
from tests.integration.small_tree import ASSET, PARTITION, WORLD, GetSeen, Scenario, Tree, run


def user() -> str:
    return str(uuid.uuid4())


async def a_user_debits_own_accounts_only(tree: Tree) -> None:
    alice, bob = user(), user()
    account, other = await tree.open(alice), await tree.open(bob)
    assert (await tree.fund(account, 100)).refusal is None
    result = await tree.post(alice, account, other, 30)
    assert result.transfer is not None
    assert (result.transfer.debit_balance, result.transfer.credit_balance) == (70, 30)
    details = set()
    for debit, role in [(other, "user"), (user(), "user"), (WORLD, "user"), (other, "admin")]:
        with pytest.raises(NotFound) as refused:
            await tree.post(alice, debit, account, 1, role=role)
        details.add(refused.value.detail)
    assert len(details) == 1
    assert (await tree.post(alice, account, other, 1000)).refusal == "exceeds_credits"


async def a_refusal_of_the_actor_burns_no_id(tree: Tree) -> None:
    alice, bob = user(), user()
    account, other = await tree.open(alice), await tree.open(bob)
    await tree.fund(account, 100)
    transfer_id = str(uuid.uuid4())
    fields = (transfer_id, account, other, 1, ASSET)
    with pytest.raises(NotFound):
        await tree.ask(PARTITION, PostTransfer(bob, "user", *fields))
    assert (await tree.ask(PARTITION, PostTransfer(alice, "user", *fields))).refusal is None
    assert (await tree.ask(PARTITION, PostTransfer(alice, "user", *fields))).replayed


async def a_storm_of_users_is_read_in_few_queries_and_everybody_is_answered(tree: Tree) -> None:
    async def count(metric: str) -> float:
        answer = await tree.ask(PARTITION, GetMetrics())
        assert isinstance(answer, Metrics)
        return next(float(line.split()[-1]) for line in answer.text.splitlines() if line.startswith(metric))

    loads, storm = await count("bitnexus_users_loads_total"), 3_000
    account = await tree.open(user())
    results = await asyncio.gather(*(tree.post(user(), user(), account) for _ in range(storm)), return_exceptions=True)
    assert {type(result) for result in results} == {NotFound}
    assert await count("bitnexus_users_active") >= storm
    assert await count("bitnexus_users_activating") == 0
    assert await count("bitnexus_users_loads_total") - loads <= storm / 20


async def one_user_cannot_have_too_many_in_flight(tree: Tree) -> None:
    alice = user()
    account, other = await tree.open(alice), await tree.open(user())
    await tree.fund(account, 1000)
    bound = get_settings().max_in_flight_per_user
    results = await asyncio.gather(
        *(tree.post(alice, account, other) for _ in range(3 * bound)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, TooManyInFlight)]
    assert len(refused) == 2 * bound
    assert not [result for result in results if isinstance(result, BaseException) and result not in refused]


async def kills_of_ledger_and_partition_fail_no_transfer(tree: Tree) -> None:
    alice, bob = user(), user()
    account, other = await tree.open(alice), await tree.open(bob)
    await tree.fund(account, 1_000_000)
    done = asyncio.Event()

    async def client() -> int:
        count = 0
        while not done.is_set():
            assert (await tree.post(alice, account, other)).refusal is None
            count += 1
        return count

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for _ in range(2):
        for name in ("ledger", PARTITION):
            await tree.kill(name)
            assert (await tree.post(bob, other, account)).refusal is None
    done.set()
    count = sum(await asyncio.gather(*clients))
    assert count > 8
    connection = await asyncpg.connect(get_settings().database_url)
    try:
        rows = await connection.fetch("SELECT id::text, debits_posted, credits_posted FROM ledger_accounts")
    finally:
        await connection.close()
    balances = {id_: (debits, credits_) for id_, debits, credits_ in rows}
    assert balances[account] == (count, 1_000_000 + 4)
    assert balances[other] == (4, count)


async def a_partition_that_starts_knows_the_accounts(tree: Tree) -> None:
    alice = user()
    account = await tree.open(alice)
    await tree.fund(account, 10)
    await tree.kill(PARTITION)
    assert (await tree.post(alice, account, await tree.open(user()))).refusal is None


async def both_owners_get_an_event_in_order(tree: Tree) -> None:
    alice, bob = user(), user()
    account, other = await tree.open(alice), await tree.open(bob)
    await tree.subscribe(alice)
    await tree.subscribe(bob)
    funded = await tree.fund(account, 100)
    transfers = [await tree.post(alice, account, other, n) for n in (1, 2, 3)]
    seqs = [result.transfer.seq for result in transfers if result.transfer]
    assert funded.transfer is not None
    await tree.until_seen(alice, [funded.transfer.seq, *seqs])
    await tree.until_seen(bob, seqs)
    events = (await tree.ask("http-0", GetSeen())).events
    (name, text), balances = events[-1].events[0], dict(events[-1].states)
    payload, balance = orjson.loads(text), orjson.loads(balances["balance"])
    assert name == "new_transaction"
    assert (balance["account_id"], balance["balance"]) in {(account, 94), (other, 6)}
    assert payload["amount"] == 3
    assert payload["id"] == transfers[-1].transfer_id
    assert payload["seq"] == events[-1].seq


async def what_happened_while_the_notifier_was_dead_is_replayed(tree: Tree) -> None:
    alice = user()
    account = await tree.open(alice)
    start = await tree.subscribe(alice)
    seqs = [await tree.fund_seq(account)]
    await tree.until_seen(alice, seqs)
    tree.signal("notifier", signal.SIGSTOP)
    seqs += [await tree.fund_seq(account) for _ in range(5)]
    await tree.kill("notifier")
    seqs += [await tree.fund_seq(account) for _ in range(5)]
    await tree.subscribe(alice, max(start, seqs[0]))
    seqs += [await tree.fund_seq(account) for _ in range(5)]
    await tree.until_seen(alice, seqs)


async def a_late_subscriber_gets_what_came_after_its_position(tree: Tree) -> None:
    alice, bob = user(), user()
    account, other = await tree.open(alice), await tree.open(bob)
    seqs = await asyncio.gather(*(tree.fund_seq(account) for _ in range(1500)))
    seqs.sort()
    await tree.fund(other, 1)
    await tree.subscribe(alice, seqs[9])
    seqs.append(await tree.fund_seq(account))
    await tree.until_seen(alice, seqs[10:])
    assert await tree.seen(bob) == []


async def a_subscriber_far_behind_gets_its_own_events_by_their_index(tree: Tree) -> None:
    # The processes have been forked with the bound as it is; so the log must be longer than that.
    alice, bob = user(), user()
    account, other = await tree.open(alice), await tree.open(bob)
    seqs = [await tree.fund_seq(account) for _ in range(3)]
    for _ in range(SCAN // 2000 + 1):
        await asyncio.gather(*(tree.fund_seq(other) for _ in range(2000)))
    await tree.subscribe(alice, seqs[0])
    seqs.append(await tree.fund_seq(account))
    await tree.until_seen(alice, seqs[1:])


async def a_front_that_stops_reading_is_brought_up_to_date(tree: Tree) -> None:
    alice = user()
    account = await tree.open(alice)
    await tree.subscribe(alice)
    tree.signal("http-0", signal.SIGSTOP)
    seqs = await asyncio.gather(*(tree.fund_seq(account) for _ in range(500)))
    tree.signal("http-0", signal.SIGCONT)
    await tree.until_seen(alice, sorted(seqs))


async def a_front_that_died_is_forgotten_and_its_successor_subscribes_anew(tree: Tree) -> None:
    alice = user()
    account = await tree.open(alice)
    await tree.subscribe(alice)
    first = await tree.fund_seq(account)
    await tree.until_seen(alice, [first])
    await tree.kill("http-0")
    missed = await tree.fund_seq(account)
    await tree.subscribe(alice, first)
    last = await tree.fund_seq(account)
    await tree.until_seen(alice, [missed, last])


async def a_poison_user_is_set_aside_alone_and_served_again_later(tree: Tree) -> None:
    good = [user() for _ in range(1000)]
    accounts = dict(zip(good, await asyncio.gather(*map(tree.open, good)), strict=True))
    await asyncio.gather(*(tree.fund(account, 10) for account in accounts.values()))
    refused: list[RuntimeFault] = []
    served = asyncio.Event()
    partition = tree.node.whereis(PARTITION)

    async def poison() -> None:
        while not served.is_set():
            try:
                message = PostTransfer(poisoned.POISON_USER, "user", user(), user(), user(), 1, ASSET)
                await tree.node.call(PARTITION, message, timeout_s=5)
            except NotFound:  # the answer of a sound actor: there is no such account
                served.set()
            except RuntimeFault as error:
                refused.append(error)
            await asyncio.sleep(0.01)

    poisoning = asyncio.create_task(poison())
    rounds = 0
    async with asyncio.timeout(30):
        while not served.is_set() or rounds < 3:
            to = good[rounds + 1 :] + good[: rounds + 1]
            results = await asyncio.gather(
                *(tree.post(debit, accounts[debit], accounts[credit]) for debit, credit in zip(good, to, strict=True))
            )
            assert [result.refusal for result in results if result.refusal] == []
            rounds += 1
        await poisoning
    # Every crash answered one call; all other calls were refused without an actor.
    assert {(error.code, error.status, error.retry_after_s) for error in refused} == {
        ("unavailable", 503, 1),
        ("quarantined", 503, 30),
    }
    assert sum(error.code == "unavailable" for error in refused) == poisoned.CRASHES
    assert tree.node.whereis(PARTITION) == partition  # else the thousand may only have been repeated


async def an_operator_sees_a_poison_user_and_releases_them(tree: Tree) -> None:
    key, seen = poisoned.POISON_USER, []
    async with asyncio.timeout(20):
        while "quarantined" not in seen:
            try:
                await tree.node.call(PARTITION, PostTransfer(key, "user", user(), user(), user(), 1, ASSET))
            except RuntimeFault as error:
                seen.append(error.code)
    report = await tree.ask(PARTITION, GetLightActors(10))
    assert (report.active, report.quarantined) == (0, 1)
    assert [(actor.key, actor.status) for actor in report.actors] == [(key, "quarantined")]
    assert (await tree.ask(PARTITION, OperateLightActor(key, "kill"))).result == "not_found"
    assert (await tree.ask(PARTITION, OperateLightActor(key, "start"))).result == "ok"
    actor = await tree.ask(PARTITION, GetLightActor(key))
    assert (actor.status, actor.last_exit) == ("inactive", "RuntimeError: poisoned by PostTransfer")
    ends = (await tree.ask(PARTITION, GetEnds(key))).ends
    assert len(ends) == seen.count("unavailable") == poisoned.CRASHES // 2
    # The other actors are looked at, too: who works, for how long.
    other = user()
    account = await tree.open(other)
    looking = asyncio.create_task(tree.ask(PARTITION, GetLightActors(1, 0.3)))
    while not looking.done():
        await tree.post(other, account, WORLD)
    (busiest,) = (await looking).actors
    assert (busiest.key, busiest.summary["accounts"]) == (other, 1)
    assert 0 < busiest.busy_share < 1
    assert busiest.received > 0
    assert (await tree.ask(PARTITION, OperateLightActor(other, "restart"))).result == "ok"
    assert (await tree.ask(PARTITION, GetLightActor(other))).status == "inactive"


#: Where the tree's partition is not the usual one.
PARTITIONS = {
    a_poison_user_is_set_aside_alone_and_served_again_later.__name__: poisoned.PARTITION_CLASS,
    an_operator_sees_a_poison_user_and_releases_them.__name__: poisoned.PARTITION_CLASS,
}

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        a_user_debits_own_accounts_only,
        a_refusal_of_the_actor_burns_no_id,
        a_storm_of_users_is_read_in_few_queries_and_everybody_is_answered,
        one_user_cannot_have_too_many_in_flight,
        kills_of_ledger_and_partition_fail_no_transfer,
        a_partition_that_starts_knows_the_accounts,
        both_owners_get_an_event_in_order,
        what_happened_while_the_notifier_was_dead_is_replayed,
        a_late_subscriber_gets_what_came_after_its_position,
        a_subscriber_far_behind_gets_its_own_events_by_their_index,
        a_front_that_stops_reading_is_brought_up_to_date,
        a_front_that_died_is_forgotten_and_its_successor_subscribes_anew,
        a_poison_user_is_set_aside_alone_and_served_again_later,
        an_operator_sees_a_poison_user_and_releases_them,
    )
}

if __name__ == "__main__":
    name = sys.argv[1]
    run(SCENARIOS[name], **({"partition": PARTITIONS[name]} if name in PARTITIONS else {}))
