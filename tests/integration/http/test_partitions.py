"""The number of partitions is changed on a running service, under the load of HTTP clients that notice nothing."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import asyncpg
import pytest

import bitnexus
from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions
from bitnexus.errors import Forbidden
from bitnexus.supervision.slots import moves
from bitnexus.tokens import AccessTokens
from tests.service import Service, User

USERS = 24
#: Requests of one user at the same time, by users that do not wait for one answer before they ask again.
AT_ONCE = 4


class Customer:
    """One user who pays the next one, again and again; `posted` are the ids in the order in which they were asked for.

    Over one connection, one request after another, order is promised; so each of the user's connections has a list.
    """

    def __init__(self, service: Service, payer: User, payee: User, connections: int) -> None:
        self._service = service
        self._payer, self._payee = payer, payee
        self.posted: list[list[str]] = [[] for _ in range(connections)]
        self.failures: list[object] = []

    async def pay(self, stop: asyncio.Event) -> None:
        await asyncio.gather(*(self._pay(posted, stop) for posted in self.posted))

    async def _pay(self, posted: list[str], stop: asyncio.Event) -> None:
        while not stop.is_set():
            transfer_id = str(uuid.uuid4())
            posted.append(transfer_id)
            status, answer, _ = await self._service.transfer(self._payer, self._payee, 1, fields={"id": transfer_id})
            if status != 201:
                self.failures.append((status, answer))


@pytest.mark.timeout(120)
async def test_from_one_to_three_to_two_partitions_under_load_no_request_fails(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITNEXUS_DATA_DIR", str(tmp_path / "var"))
    service = await Service.start(fresh_database_url, tmp_path, BITNEXUS_PARTITIONS="1", BITNEXUS_FRONTS="2")
    try:
        users = [await service.register() for _ in range(USERS)]
        await asyncio.gather(*(service.fund(user, 1_000_000) for user in users))
        customers = [
            Customer(service, payer, payee, connections=1 if number % 2 else AT_ONCE)
            for number, (payer, payee) in enumerate(zip(users, users[1:] + users[:1], strict=True))
        ]
        stop = asyncio.Event()
        paying = [asyncio.create_task(customer.pay(stop)) for customer in customers]
        token = AccessTokens(service.environment["SECRET_KEY_BASE"], 600).issue(str(uuid.uuid4()), "admin")
        async with bitnexus.connect(token=token, timeout_s=60) as node:
            await until_posted(customers, 10)
            for before, count in ((1, 3), (3, 2)):
                setting = asyncio.create_task(node.call("transactions", SetPartitions(count)))
                if count == 2:
                    await service.kill("ledger")  # what is in work is finished by its successor, and then moves
                done = await setting
                assert isinstance(done, PartitionsSet)
                assert (done.before, done.count, done.slots) == (before, count, len(moves(before, count)))
                await until_posted(customers, 10)
                found = await node.call("transactions", GetPartitions())
                assert isinstance(found, Partitions)
                assert set(found.owners) == set(range(count))
        assert {name for name in await service.pids() if name.startswith("transactions-")} == {
            "transactions-0", "transactions-1"
        }  # fmt: skip
        stop.set()
        await asyncio.gather(*paying)
        assert [failure for customer in customers for failure in customer.failures] == []
        await check_ledger(fresh_database_url, customers)
    finally:
        assert await service.stop() == 0


async def until_posted(customers: list[Customer], more: int) -> None:
    """Wait until every connection has asked for some more."""
    goals = [(posted, len(posted) + more) for customer in customers for posted in customer.posted]
    async with asyncio.timeout(60):
        while any(len(posted) < goal for posted, goal in goals):
            await asyncio.sleep(0.01)


async def check_ledger(database_url: str, customers: list[Customer]) -> None:
    """Each id once, and those of a connection in the order in which they were asked for."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT id::text AS id, seq FROM ledger_transfers WHERE amount = 1")
    finally:
        await connection.close()
    seqs = {row["id"]: row["seq"] for row in rows}
    assert len(seqs) == len(rows)
    asked = [posted for customer in customers for posted in customer.posted]
    assert sorted(seqs) == sorted(each for posted in asked for each in posted)
    for posted in asked:
        order = [seqs[each] for each in posted]
        assert order == sorted(order)


async def test_only_an_operator_changes_the_number(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITNEXUS_DATA_DIR", service.environment["BITNEXUS_DATA_DIR"])
    tokens = AccessTokens(service.environment["SECRET_KEY_BASE"], 600)
    for role in ("user", "service"):
        async with bitnexus.connect(token=tokens.issue(str(uuid.uuid4()), role)) as node:
            with pytest.raises(Forbidden):
                await node.call("transactions", SetPartitions(3))
            assert isinstance(await node.call("transactions", GetPartitions()), Partitions)
