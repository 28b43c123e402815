"""The number of partitions is changed on a running service, under the load of HTTP clients that notice nothing."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import bitnexus
from bitnexus.actors.messages import GetPartitions, Partitions, SetPartitions
from bitnexus.actors.operator_messages import OPERATIONS, ChangePartitions, Operator, PartitionsChanged
from bitnexus.errors import Forbidden
from bitnexus.supervision.slots import moves
from bitnexus.tokens import AccessTokens
from tests.service import Service, User

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADMIN = str(uuid.uuid4())
TRANSACTIONS = "bitnexus/transactions"
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
            if status not in (200, 201):  # 200: it was repeated, since the ledger died after it had posted it
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
        async with bitnexus.connect(token=token(service, "admin"), timeout_s=60) as node:
            await until_posted(customers, 10)
            for before, count in ((1, 3), (3, 2)):
                command = ChangePartitions(Operator(ADMIN, "admin"), TRANSACTIONS, count, within_s=60)
                setting = asyncio.create_task(node.call(OPERATIONS, command))
                if count == 2:
                    await service.kill("ledger")  # what is in work is finished by its successor, and then moves
                done = await setting
                assert isinstance(done, PartitionsChanged)
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


async def test_by_http_an_admin_is_told_what_would_move_and_changes_the_number(service: Service) -> None:
    admin = await service.admin()
    path = "/api/v1/admin/tree/partitions"

    async def change(count: int, *, path_: str = TRANSACTIONS, user: User = admin, **options: Any) -> tuple[int, Any]:
        fields = {"count": count, "path": path_, **options}
        status, answer, _ = await service.call("POST", path, user=user, json={"partitions": fields})
        return status, answer.get("data") or answer["code"]

    status, would = await change(3, dry_run=True)
    steps = would.pop("steps")
    assert would == {
        "id": None, "outcome": "would", "before": 2, "count": 3, "slots": len(moves(2, 3)), "seconds": 0.0
    }  # fmt: skip
    assert acts(steps) == [("start", f"{TRANSACTIONS}/transactions-2"), ("move", TRANSACTIONS)]
    status, done = await change(3)
    assert (status, done["outcome"], done["before"], done["count"]) == (200, "done", 2, 3)
    assert (done["slots"], done["steps"]) == (len(moves(2, 3)), steps)
    _, would = await change(2, dry_run=True)
    status, fewer = await change(2)
    assert (status, fewer["before"], fewer["count"], fewer["steps"]) == (200, 3, 2, would["steps"])
    assert acts(fewer["steps"]) == [("move", TRANSACTIONS), ("stop", f"{TRANSACTIONS}/transactions-2")]
    assert fewer["steps"][-1]["pid"] is not None
    status, same = await change(2, dry_run=True)
    assert (status, same["outcome"], same["steps"]) == (200, "nothing", [])
    assert await change(2, path_="bitnexus/ledger") == (409, "command_refused")
    assert await change(2, path_="bitnexus/nowhere") == (404, "unknown_path")
    assert (await change(0))[0] == 422
    assert (await change(2, user=await service.register()))[0] == 403
    _, found, _ = await service.call("GET", "/api/v1/admin/audit", user=admin)
    rows = {row["id"]: row for row in found["data"]}
    for changed in (done, fewer):
        row = rows[changed["id"]]
        assert (row["verb"], row["entrance"], row["outcome"], row["operator_role"]) == (
            "partitions", "http", "done", "admin"
        )  # fmt: skip
        assert acts(row["steps"]) == acts(changed["steps"])
    ours = [row for row in found["data"] if row["verb"] == "partitions"]
    told = [(row["arguments"]["count"], row["outcome"], row["detail"]) for row in ours]
    assert (3, "done", "3 instead of 2") in told
    assert (2, "refused", "bitnexus/ledger has no partitions") in told


async def test_only_an_operator_changes_the_number(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITNEXUS_DATA_DIR", service.environment["BITNEXUS_DATA_DIR"])
    for role in ("user", "service"):
        async with bitnexus.connect(token=token(service, role)) as node:
            with pytest.raises(Forbidden):
                await node.call("operations", ChangePartitions(Operator(ADMIN, role), TRANSACTIONS, 3))
            with pytest.raises(Forbidden):
                await node.call("operations", ChangePartitions(Operator(ADMIN, "admin"), TRANSACTIONS, 3))
            question = ChangePartitions(Operator(ADMIN, role), TRANSACTIONS, 3, dry_run=True)
            if role == "service":  # which may look, and asking is looking
                would = await node.call("operations", question)
                assert isinstance(would, PartitionsChanged)
                assert (would.outcome, would.command_id) == ("would", "")
            else:
                with pytest.raises(Forbidden):
                    await node.call("operations", question)
    async with bitnexus.connect(token=token(service, "admin")) as node:
        with pytest.raises(Forbidden):  # without a record
            await node.call("transactions", SetPartitions(3))
        assert isinstance(await node.call("transactions", GetPartitions()), Partitions)


def acts(steps: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(step["action"], step["path"]) for step in steps]


def token(service: Service, role: str) -> str:
    return AccessTokens(service.environment["SECRET_KEY_BASE"], 600).issue(ADMIN, role)
