"""Limits of what a user may transfer, over HTTP: they hold at once and for as long as they are set, and refuse once."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
import pytest_asyncio

from bitnexus.errors import REFUSALS
from tests.integration.http.test_errors import assert_problem
from tests.service import ASSET, User

pytestmark = pytest.mark.asyncio(loop_scope="session")

USERS = "/api/v1/users"
TRANSACTIONS = "/api/v1/transactions"
DAILY, AT_ONCE = "daily_limit_exceeded", "transfer_limit_exceeded"


class Customer:
    """Ann, who has 10,000, pays Ben; an admin limits her."""

    def __init__(self, service, ann: User, ben: User, admin: User) -> None:
        self.service = service
        self.ann = ann
        self.ben = ben
        self.admin = admin

    async def limit(self, *limits: dict[str, Any], match: str | None = "*", by: User | None = None):
        headers = {} if match is None else {"If-Match": match}
        path = f"{USERS}/{self.ann.id}/limits"
        body = {"limits": list(limits)}
        return await self.service.call("PUT", path, user=by or self.admin, json=body, headers=headers)

    async def limited(self, **bounds: int) -> None:
        status, answer, _ = await self.limit({"asset": ASSET, **bounds})
        assert status == 200, answer

    async def read(self, by: User, **options: Any):
        return await self.service.call("GET", f"{USERS}/{self.ann.id}/limits", user=by, **options)

    async def pay(self, amount: int, *, id_: str | None = None, **fields: Any):
        fields = {**fields, **({"id": id_} if id_ else {})}
        return await self.service.transfer(self.ann, self.ben, amount, fields=fields)

    async def paid(self, amount: int, **fields: Any) -> str:
        status, answer, _ = await self.pay(amount, **fields)
        assert status == 201, answer
        return answer["data"]["id"]

    async def refused(self, amount: int, code: str, **fields: Any) -> None:
        status, answer, headers = await self.pay(amount, **fields)
        assert_problem(answer, headers, status, code)
        assert (status, answer["detail"]) == (REFUSALS[code].status, REFUSALS[code].message)

    async def resolve(self, kind: str, pending_id: str, **fields: Any) -> int:
        body = {"transaction": {"kind": kind, "pending_id": pending_id, **fields}}
        status, _, _ = await self.service.call("POST", TRANSACTIONS, user=self.ann, json=body)
        return status


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def admin(service):
    return await service.admin()


@pytest_asyncio.fixture(loop_scope="session")
async def customer(service, admin):
    ann, ben = await service.newcomer(), await service.newcomer()
    fields = {"debit_account_id": "world", "credit_account_id": ann.account_id, "amount": 10_000}
    assert (await service.call("POST", TRANSACTIONS, user=admin, json={"transaction": fields}))[0] == 201
    return Customer(service, ann, ben, admin)


def new_id() -> str:
    return str(uuid.uuid4())


async def test_an_admin_sets_limits_and_the_user_reads_them(customer):
    status, answer, headers = await customer.read(customer.ann)
    assert (status, answer["data"], headers["ETag"]) == (200, {"limits": []}, '"0"')
    eur = {"asset": "EUR/2", "per_transfer": None, "per_day": 7}
    usd = {"asset": ASSET, "per_transfer": 5, "per_day": None}
    status, answer, headers = await customer.limit({"asset": ASSET, "per_transfer": 5}, eur, match='"0"')
    assert (status, answer["data"]) == (200, {"limits": [eur, usd]})
    for reader in (customer.ann, customer.admin):
        assert (await customer.read(reader))[:2] == (200, {"data": {"limits": [eur, usd]}})
    status, _, _ = await customer.read(customer.ann, headers={"If-None-Match": headers["ETag"]})
    assert status == 304
    _, answer, _ = await customer.service.call("GET", f"{USERS}/me/limits", user=customer.ann)
    assert answer["data"] == {"limits": [eur, usd]}
    status, answer, headers = await customer.limit(match=headers["ETag"])
    assert (status, answer["data"], headers["ETag"]) == (200, {"limits": []}, '"0"')


async def test_nobody_else_sets_or_reads_them(customer):
    status, answer, headers = await customer.limit(by=customer.ann)
    assert_problem(answer, headers, status, "forbidden")
    status, answer, headers = await customer.read(customer.ben)
    assert_problem(answer, headers, status, "not_found")
    for wanted in (new_id(), "x"):
        options = {"user": customer.admin, "json": {"limits": []}, "headers": {"If-Match": "*"}}
        for method in ("GET", "PUT"):
            status, answer, headers = await customer.service.call(method, f"{USERS}/{wanted}/limits", **options)
            assert_problem(answer, headers, status, "not_found")


async def test_limits_that_were_changed_meanwhile_are_not_overwritten(customer):
    limit = {"asset": ASSET, "per_day": 5}
    status, answer, headers = await customer.limit(limit, match=None)
    assert_problem(answer, headers, status, "precondition_required")
    _, _, first = await customer.limit(limit, match='"0"')
    status, answer, headers = await customer.limit({"asset": ASSET, "per_day": 6}, match='"0"')
    assert_problem(answer, headers, status, "precondition_failed")
    # Who repeats it because no answer came wants what is there already.
    status, answer, again = await customer.limit(limit, match='"0"')
    assert (status, again["ETag"]) == (200, first["ETag"])


@pytest.mark.parametrize(
    "limits",
    [
        [{"asset": ASSET}],
        [{"asset": ASSET, "per_day": 1}, {"asset": ASSET, "per_transfer": 1}],
        [{"asset": ASSET, "per_day": -1}],
        [{"asset": ASSET, "per_day": 2**53}],
        [{"asset": "usd", "per_day": 1}],
        [{"asset": ASSET, "per_week": 1}],
        [{"asset": f"A{n}/0", "per_day": 1} for n in range(101)],
    ],
    ids=["no limit", "twice", "negative", "inexact", "no asset", "unknown", "too many"],
)
async def test_what_is_no_limit_is_refused_by_field(customer, limits):
    status, answer, headers = await customer.limit(*limits)
    assert_problem(answer, headers, status, "invalid_fields")


async def test_a_transfer_above_the_limit_is_refused_for_ever_and_the_next_one_is_not(customer):
    await customer.limited(per_transfer=100)
    id_ = new_id()
    await customer.refused(101, AT_ONCE, id_=id_)
    await customer.paid(100)
    await customer.limit()
    status, answer, headers = await customer.pay(101, id_=id_)
    assert (status, answer["code"], headers["Idempotent-Replayed"]) == (422, AT_ONCE, "true")
    await customer.paid(101)


async def test_a_limit_counts_what_was_spent_today_before_it_was_set_and_holds_at_once(customer):
    await customer.paid(60)
    await customer.limited(per_day=100)
    await customer.refused(41, DAILY)
    await customer.paid(40)
    await customer.refused(1, DAILY)
    await customer.limited(per_day=101)
    await customer.paid(1)
    await customer.limited(per_day=50)
    await customer.refused(1, DAILY)


async def test_a_repeated_id_gets_its_result_whatever_the_limit_and_counts_once(customer):
    await customer.limited(per_day=100)
    id_ = new_id()
    await customer.paid(80, id_=id_)
    for _ in range(3):
        status, answer, headers = await customer.pay(80, id_=id_)
        assert (status, answer["data"]["amount"], headers["Idempotent-Replayed"]) == (200, 80, "true")
    await customer.paid(20)
    await customer.limited(per_transfer=1)
    status, _, headers = await customer.pay(80, id_=id_)
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")


async def test_what_the_ledger_refuses_does_not_count(customer):
    await customer.limited(per_day=10_001)
    await customer.refused(10_001, "exceeds_credits")
    await customer.paid(10_000)


async def test_what_is_reserved_counts_when_it_is_and_never_again(customer):
    await customer.limited(per_day=100)
    first = await customer.paid(60, kind="pending")
    await customer.refused(41, DAILY, kind="pending")
    second = await customer.paid(40, kind="pending")
    assert await customer.resolve("post_pending", first, amount=50) == 201
    assert await customer.resolve("void_pending", second) == 201
    await customer.refused(1, DAILY)


async def test_other_assets_and_other_people_s_commands_are_not_limited(customer):
    service, account, asset = customer.service, new_id(), f"T{uuid.uuid4().hex}/0"
    await customer.limited(per_day=0)
    body = {"account": {"id": account, "asset": asset, "owner_id": customer.ann.id, "flags": 0}}
    assert (await service.call("POST", "/api/v1/accounts", user=customer.admin, json=body))[0] == 201
    other = {"id": new_id(), "asset": asset, "owner_id": customer.ben.id}
    assert (await service.call("POST", "/api/v1/accounts", user=customer.admin, json={"account": other}))[0] == 201
    fields = {"debit_account_id": account, "credit_account_id": other["id"], "amount": 5, "asset": asset}
    assert (await service.call("POST", TRANSACTIONS, user=customer.ann, json={"transaction": fields}))[0] == 201
    issued = {"debit_account_id": "world", "credit_account_id": customer.ann.account_id, "amount": 5}
    paid = await service.call("POST", TRANSACTIONS, user=customer.admin, json={"transaction": issued})
    assert paid[0] == 201
    reversal = {"transaction": {"kind": "reversal", "reverses_id": paid[1]["data"]["id"]}}
    assert (await service.call("POST", TRANSACTIONS, user=customer.admin, json=reversal))[0] == 201


async def test_of_a_batch_what_is_beyond_the_limit_is_refused_and_an_atomic_one_as_a_whole(customer):
    await customer.limited(per_day=100, per_transfer=90)
    pay = {"debit_account_id": customer.ann.account_id, "credit_account_id": customer.ben.account_id}
    amounts = (60, 95, 41, 40)
    body = {"transactions": [{**pay, "amount": amount} for amount in amounts], "atomic": True}
    status, answer, headers = await customer.service.call("POST", f"{TRANSACTIONS}/batch", user=customer.ann, json=body)
    assert_problem(answer, headers, status, AT_ONCE)
    assert answer["index"] == 1
    body["atomic"] = False
    status, answer, _ = await customer.service.call("POST", f"{TRANSACTIONS}/batch", user=customer.ann, json=body)
    assert [each.get("code") for each in answer["data"]["results"]] == [None, AT_ONCE, DAILY, None]
    await customer.refused(1, DAILY)


async def test_a_purchase_is_limited_as_a_transfer_is(customer):
    service, admin = customer.service, customer.admin
    body = {"product": {"sku": f"CUP-{uuid.uuid4().hex[:12]}", "name": "Cup", "price": 60}}
    _, answer, _ = await service.call("POST", "/api/v1/products", user=admin, json=body)
    path = f"/api/v1/products/{answer['data']['id']}"
    restock = {"restock": {"quantity": 10}}
    assert (await service.call("POST", f"{path}/restocks", user=admin, json=restock))[0] == 201
    await customer.limited(per_day=100)
    buy = {"user": customer.ann, "json": {"purchase": {"quantity": 1}}}
    assert (await service.call("POST", f"{path}/purchases", **buy))[0] == 201
    status, answer, headers = await service.call("POST", f"{path}/purchases", **buy)
    assert_problem(answer, headers, status, DAILY)
    await customer.paid(40)


async def test_many_at_once_do_not_pass_the_limit_together(customer):
    await customer.limited(per_day=1_000)
    answers = await asyncio.gather(*(customer.pay(100) for _ in range(30)))
    assert sorted(status for status, _, _ in answers) == [201] * 10 + [422] * 20


async def test_the_death_of_the_partition_forgets_neither_the_limit_nor_what_was_spent(customer):
    await customer.limited(per_day=100)
    await customer.paid(70)
    names = [name for name in await customer.service.pids() if name.startswith("transactions-")]
    await customer.service.kill(*names)
    await customer.refused(31, DAILY)
    await customer.paid(30)
