"""Purchases over HTTP: both sides or neither, once a key, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from bitnexus.http.api.opening import account_id_of
from bitnexus.tokens import AccessTokens
from tests.service import Service, User

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/products"


@dataclass(frozen=True)
class Shop:
    """A product of 250 with 10 units in stock, and what tests do with it."""

    service: Service
    admin: User
    product: dict

    async def buy(self, user: User, quantity: int = 1, *, key: str | None = None, **fields):
        headers = {"Idempotency-Key": key} if key else {}
        body = {"purchase": {"quantity": quantity, **fields}}
        return await self.service.call(
            "POST", f"{PATH}/{self.product['id']}/purchases", user=user, json=body, headers=headers
        )

    async def stock(self) -> int:
        _, answer, _ = await self.service.call("GET", f"{PATH}/{self.product['id']}", user=self.admin)
        return answer["data"]["stock"]

    async def balance(self, account_id: str) -> int | None:
        """None if there is no such account."""
        status, answer, _ = await self.service.call("GET", f"/api/v1/accounts/{account_id}", user=self.admin)
        return answer["data"]["balance"] if status == 200 else None

    def units_account(self, user: User) -> str:
        return account_id_of(user.id, self.product["units_asset"])

    async def change(self, **fields) -> None:
        status, answer, _ = await self.service.call(
            "PATCH",
            f"{PATH}/{self.product['id']}",
            user=self.admin,
            json={"product": fields},
            headers={"If-Match": "*"},
        )
        assert status == 200, answer


@pytest_asyncio.fixture(loop_scope="session")
async def shop(service) -> Shop:
    admin = await service.admin()
    body = {"product": {"sku": f"CUP-{uuid.uuid4().hex[:12]}", "name": "Cup", "price": 250}}
    _, answer, _ = await service.call("POST", PATH, user=admin, json=body)
    product = answer["data"]
    path = f"{PATH}/{product['id']}/restocks"
    status, answer, _ = await service.call("POST", path, user=admin, json={"restock": {"quantity": 10}})
    assert status == 201, answer
    return Shop(service, admin, product)


@pytest_asyncio.fixture(loop_scope="session")
async def ann(service):
    user = await service.register()
    await service.fund(user, 1_000)
    return user


async def many(service, count: int, funds: int) -> list[User]:
    """Users by token alone, each with an account and funds: to register them would hash two passwords each."""
    tokens = AccessTokens(service.environment["SECRET_KEY_BASE"], 3600)
    slots = asyncio.Semaphore(10)

    async def one() -> User:
        id_ = str(uuid.uuid4())
        user = User(id_, account_id_of(id_, "USD/2"), "", tokens.issue(id_, "user"))
        async with slots:
            status, _, _ = await service.call("GET", "/api/v1/accounts", user=user)
            assert status == 200
            fields = {"debit_account_id": "world", "credit_account_id": user.account_id, "amount": funds}
            status, _, _ = await service.call("POST", "/api/v1/transactions", user=bank, json={"transaction": fields})
            assert status == 201
        return user

    bank = await service.admin()
    return await asyncio.gather(*(one() for _ in range(count)))


async def test_a_purchase_moves_money_and_units(service, shop, ann):
    earned = await shop.balance(shop.product["shop_account_id"])
    assert earned is not None
    assert await shop.balance(shop.units_account(ann)) is None
    status, answer, headers = await shop.buy(ann, 3)
    bought = answer["data"]
    assert status == 201
    assert headers["Location"] == f"/api/v1/transactions/{bought['id']}"
    assert (bought["quantity"], bought["price"], bought["amount"], bought["asset"]) == (3, 250, 750, "USD/2")
    assert (bought["account_id"], bought["units_account_id"]) == (ann.account_id, shop.units_account(ann))
    assert bought["payment"]["metadata"] == bought["units"]["metadata"]
    assert bought["payment"]["metadata"]["product_id"] == shop.product["id"]
    assert bought["payment"]["block"] == bought["units"]["block"]
    assert bought["units"]["seq"] == bought["payment"]["seq"] + 1
    assert await shop.balance(ann.account_id) == 250
    assert await shop.balance(shop.units_account(ann)) == 3
    assert await shop.balance(shop.product["shop_account_id"]) == earned + 750
    assert await shop.stock() == 7
    _, answer, _ = await service.call("GET", "/api/v1/accounts", user=ann)
    assert {account["asset"] for account in answer["data"]} == {"USD/2", shop.product["units_asset"]}
    _, answer, _ = await service.call("GET", "/api/v1/transactions", user=ann)
    assert answer["data"][:2] == [bought["units"], bought["payment"]]


async def test_bought_units_are_the_buyer_s_to_give_away_at_once(service, shop, ann):
    ben = await service.register()
    await service.fund(ben, 250)
    await shop.buy(ben)
    await shop.buy(ann, 2)
    fields = {
        "debit_account_id": shop.units_account(ann),
        "credit_account_id": shop.units_account(ben),
        "amount": 1,
        "asset": shop.product["units_asset"],
    }
    status, answer, _ = await service.call("POST", "/api/v1/transactions", user=ann, json={"transaction": fields})
    assert status == 201, answer
    assert await shop.balance(shop.units_account(ben)) == 2


async def test_out_of_stock_and_too_little_money_are_refused_and_nothing_happens(service, shop, ann):
    rich = await service.register()
    await service.fund(rich, 100_000)
    before = await shop.balance(shop.product["shop_account_id"])
    for user, quantity, code in ((rich, 11, "out_of_stock"), (ann, 5, "insufficient_funds")):
        key = uuid.uuid4().hex
        for replayed in (None, "true"):
            status, answer, headers = await shop.buy(user, quantity, key=key)
            assert (status, answer["code"], headers.get("Idempotent-Replayed")) == (422, code, replayed)
        assert await shop.balance(shop.units_account(user)) is None, "not even an account"
    assert (await shop.balance(rich.account_id), await shop.balance(ann.account_id)) == (100_000, 1_000)
    assert await shop.balance(shop.product["shop_account_id"]) == before
    assert await shop.stock() == 10
    status, _, _ = await shop.buy(ann, 4)
    assert status == 201


async def test_a_refusal_stays_one_when_the_stock_is_filled_or_the_price_falls(service, shop, ann):
    status, answer, _ = await shop.buy(ann, 5, key="too-dear")
    assert (status, answer["code"]) == (422, "insufficient_funds")
    await shop.change(price=1)
    status, answer, headers = await shop.buy(ann, 5, key="too-dear")
    assert (status, answer["code"], headers["Idempotent-Replayed"]) == (422, "insufficient_funds", "true")
    status, _, _ = await shop.buy(ann, 5)
    assert status == 201


async def test_a_replay_gets_the_first_answer_whatever_became_of_the_product(service, shop, ann):
    key = uuid.uuid4().hex
    status, first, _ = await shop.buy(ann, 2, key=key)
    assert status == 201
    for change in ({"price": 999}, {"name": "Beaker"}, {"price": 100_000_000}):
        await shop.change(**change)
        status, again, headers = await shop.buy(ann, 2, key=key)
        assert (status, again, headers["Idempotent-Replayed"]) == (200, first, "true")
    one = f"{PATH}/{shop.product['id']}"
    await service.call("DELETE", one, user=shop.admin, headers={"If-Match": "*"})
    status, again, _ = await shop.buy(ann, 2, key=key)
    assert (status, again) == (200, first)
    status, _, _ = await shop.buy(ann, 2, key=uuid.uuid4().hex)
    assert status == 404
    assert await shop.balance(ann.account_id) == 500


async def test_a_key_of_another_command_is_refused(service, shop, ann):
    ben = await service.register()
    key = {"Idempotency-Key": "taken"}
    await service.transfer(ann, ben, 250, headers=key)
    status, answer, _ = await shop.buy(ann, 1, key="taken")
    assert (status, answer["code"]) == (422, "exists_with_different_credit_account_id")
    await shop.buy(ann, 1, key="mine")
    status, answer, _ = await shop.buy(ann, 2, key="mine")
    assert (status, answer["code"]) == (422, "exists_with_different_amount")
    status, answer, _ = await service.transfer(ann, ben, 250, headers={"Idempotency-Key": "mine"})
    assert (status, answer["code"]) == (422, "exists_with_different_credit_account_id")
    assert (await shop.stock(), await shop.balance(ann.account_id)) == (9, 500)


async def test_another_s_account_does_not_pay(service, shop, ann):
    eve = await service.register()
    for account_id in (ann.account_id, str(uuid.uuid4()), shop.product["stock_account_id"]):
        status, answer, _ = await shop.buy(eve, 1, account_id=account_id)
        assert (status, answer["code"]) == (404, "not_found")
    status, _, _ = await shop.buy(shop.admin, 1, account_id=ann.account_id)
    assert status == 404, "not for an admin either"
    assert (await shop.stock(), await shop.balance(ann.account_id)) == (10, 1_000)


@pytest.mark.parametrize("quantity", [0, -1, 2**53, 1.0, "1", None, 2**53 - 1])
async def test_a_quantity_that_breaks_a_rule_is_refused(shop, ann, quantity):
    status, answer, _ = await shop.buy(ann, quantity)
    assert (status, list(answer["errors"])) == (422, ["quantity"])


async def test_of_50_buyers_of_10_units_exactly_10_succeed(service, shop):
    buyers = await many(service, 50, 300)
    keys = [uuid.uuid4().hex for _ in buyers]
    earned = await shop.balance(shop.product["shop_account_id"])
    assert earned is not None

    async def twice(buyer: User, key: str):
        return await asyncio.gather(shop.buy(buyer, key=key), shop.buy(buyer, key=key))

    answers = await asyncio.gather(*(twice(buyer, key) for buyer, key in zip(buyers, keys, strict=True)))
    outcomes = [sorted(status for status, _, _ in pair) for pair in answers]
    assert outcomes.count([200, 201]) == 10
    assert outcomes.count([422, 422]) == 40
    for buyer, key, (one, two), statuses in zip(buyers, keys, answers, outcomes, strict=True):
        won = statuses == [200, 201]
        status, again, headers = await shop.buy(buyer, key=key)
        assert headers["Idempotent-Replayed"] == "true"
        if won:
            assert (status, again) == (200, one[1])
            assert one[1] == two[1]
        else:
            codes = {answer["code"] for _, answer, _ in (one, two)} | {again["code"]}
            assert (status, codes) == (422, {"out_of_stock"})
        assert await shop.balance(buyer.account_id) == (50 if won else 300)
        assert await shop.balance(shop.units_account(buyer)) == (1 if won else None)
    assert await shop.stock() == 0
    assert await shop.balance(shop.product["shop_account_id"]) == earned + 10 * 250
    await is_in_order(service, shop)


async def test_purchases_go_on_while_ledger_and_partitions_are_killed_and_none_is_lost_or_doubled(service, shop):
    buyers = await many(service, 12, 100_000)
    body = {"restock": {"quantity": 90}}
    await service.call("POST", f"{PATH}/{shop.product['id']}/restocks", user=shop.admin, json=body)
    answered: dict[tuple[str, str], tuple[User, int, dict]] = {}
    killing = True

    async def shopping(buyer: User) -> None:
        number = 0
        while killing or number < 12:
            number += 1
            while True:
                status, answer, _ = await shop.buy(buyer, key=f"{number}")
                if status < 500:
                    break  # what was not refused for the moment's trouble is the one true answer
            answered[buyer.id, f"{number}"] = buyer, status, answer

    going = asyncio.gather(*(shopping(buyer) for buyer in buyers))
    for name in ("ledger", "transactions-0", "ledger", "transactions-1"):
        await service.kill(name)
    killing = False
    await going
    won: dict[str, int] = {}
    for (_, key), (buyer, status, answer) in answered.items():
        assert status in {200, 201, 422}, answer
        again_status, again, _ = await shop.buy(buyer, key=key)
        if status == 422:
            assert (again_status, again["code"]) == (422, answer["code"]) == (422, "out_of_stock")
        else:
            assert (again_status, again) == (200, answer)
            won[buyer.id] = won.get(buyer.id, 0) + 1
    assert sum(won.values()) == 100
    assert await shop.stock() == 0
    for buyer in buyers:
        had = won.get(buyer.id, 0)
        assert (await shop.balance(shop.units_account(buyer)) or 0) == had
        assert await shop.balance(buyer.account_id) == 100_000 - 250 * had
    await is_in_order(service, shop)


async def is_in_order(service, shop) -> None:
    """The books balance, and everything can be recomputed."""
    from bitnexus.actors.ledger.verification import verify

    _, answer, _ = await service.call("GET", "/api/v1/ledger/trial-balance", user=shop.admin)
    assert answer["balanced"] is True
    connection = await asyncpg.connect(service.environment["DATABASE_URL"])
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await verify(connection)
    finally:
        await connection.close()
