"""Products over HTTP: who reads and writes them, their versions, their stock."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/products"
ANY = {"If-Match": "*"}


def fields(**given) -> dict:
    return {"product": {"sku": f"MUG-{uuid.uuid4().hex[:12]}", "name": "Mug", "price": 250, **given}}


@pytest_asyncio.fixture(loop_scope="session")
async def admin(service):
    return await service.admin()


@pytest_asyncio.fixture(loop_scope="session")
async def mug(service, admin):
    status, answer, _ = await service.call("POST", PATH, user=admin, json=fields())
    assert status == 201, answer
    return answer["data"]


async def restock(service, admin, product: dict, quantity: int, **options):
    body = {"restock": {"quantity": quantity}}
    return await service.call("POST", f"{PATH}/{product['id']}/restocks", user=admin, json=body, **options)


async def test_a_product_is_made_with_its_accounts_and_shown_to_everybody(service, admin):
    user = await service.register()
    body = fields(description="Für Kaffee")
    status, answer, headers = await service.call("POST", PATH, user=admin, json=body)
    made = answer["data"]
    assert (status, headers["Location"]) == (201, f"{PATH}/{made['id']}")
    assert {key: made[key] for key in body["product"]} == body["product"]
    assert (made["asset"], made["units_asset"], made["stock"]) == ("USD/2", f"SKU:{made['sku']}/0", 0)
    status, answer, headers = await service.call("GET", f"{PATH}/{made['id']}", user=user)
    assert (status, answer["data"]) == (200, made)
    assert headers["ETag"] == '"1-0"'
    for account, kind in ((made["stock_account_id"], "stock"), (made["shop_account_id"], "shop")):
        _, answer, _ = await service.call("GET", f"/api/v1/accounts/{account}", user=admin)
        assert (answer["data"]["kind"], answer["data"]["owner_id"]) == (kind, None)
        status, _, _ = await service.call("GET", f"/api/v1/accounts/{account}", user=user)
        assert status == 404


async def test_only_an_admin_writes(service, mug):
    user = await service.register()
    one = f"{PATH}/{mug['id']}"
    for method, path, body in (
        ("POST", PATH, fields()),
        ("PATCH", one, {"product": {"price": 1}}),
        ("PUT", one, {"product": {"price": 1}}),
        ("DELETE", one, None),
        ("POST", f"{one}/restocks", {"restock": {"quantity": 1}}),
    ):
        status, answer, _ = await service.call(method, path, user=user, json=body, headers=ANY)
        assert (status, answer["code"]) == (403, "forbidden"), (method, path)
    for path in (PATH, one):
        status, _, _ = await service.call("GET", path)
        assert status == 401


async def test_a_sku_is_one_product_s_for_ever_however_it_is_written(service, admin, mug):
    for sku in (mug["sku"], mug["sku"].lower()):
        status, answer, _ = await service.call("POST", PATH, user=admin, json=fields(sku=sku))
        assert (status, answer["code"]) == (409, "conflict")
    await service.call("DELETE", f"{PATH}/{mug['id']}", user=admin, headers=ANY)
    status, _, _ = await service.call("POST", PATH, user=admin, json=fields(sku=mug["sku"]))
    assert status == 409


async def test_of_many_who_make_one_sku_one_succeeds(service, admin):
    body = fields()
    answers = await asyncio.gather(*(service.call("POST", PATH, user=admin, json=body) for _ in range(6)))
    assert sorted(status for status, _, _ in answers) == [201] + [409] * 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sku", ""), ("sku", "x" * 57), ("sku", "a/b"), ("sku", "ü"), ("sku", None), ("name", ""), ("name", "x" * 201),
        ("name", "a\x00"), ("price", 0), ("price", 2**53), ("price", 1.5), ("price", "1"), ("asset", "usd"),
        ("asset", "SKU:X/0"), ("description", "x" * 5_001), ("stock", 5), ("id", "x"),
    ],
)  # fmt: skip
async def test_a_product_that_breaks_a_rule_is_refused(service, admin, field, value):
    status, answer, _ = await service.call("POST", PATH, user=admin, json=fields(**{field: value}))
    assert (status, list(answer["errors"])) == (422, [field])


async def test_a_change_needs_the_version_that_it_changes(service, admin, mug):
    one = f"{PATH}/{mug['id']}"
    change = {"product": {"price": 300}}
    status, answer, _ = await service.call("PATCH", one, user=admin, json=change)
    assert (status, answer["code"]) == (428, "precondition_required")
    status, answer, headers = await service.call("PATCH", one, user=admin, json=change, headers={"If-Match": '"1-0"'})
    assert (status, answer["data"]["price"], answer["data"]["name"], headers["ETag"]) == (200, 300, "Mug", '"2-0"')
    assert answer["data"]["updated_at"] > mug["updated_at"]
    for stale in ('"1-0"', 'W/"2-0"', '"x"', '"1-0", "3-0"'):
        status, answer, _ = await service.call("PATCH", one, user=admin, json=change, headers={"If-Match": stale})
        assert (status, answer["code"]) == (412, "precondition_failed"), stale
    status, _, _ = await service.call("PUT", one, user=admin, json=change, headers={"If-Match": "2"})
    assert status == 400
    await restock(service, admin, mug, 5)
    body = {"product": {"name": "Cup", "description": "d"}}
    status, answer, headers = await service.call("PUT", one, user=admin, json=body, headers={"If-Match": '"2-0"'})
    assert status == 200, "what was bought meanwhile is no reason to refuse"
    assert (answer["data"]["name"], answer["data"]["price"], headers["ETag"]) == ("Cup", 300, '"3-5"')
    status, answer, _ = await service.call("PATCH", one, user=admin, json={"product": {"sku": "x"}}, headers=ANY)
    assert (status, list(answer["errors"])) == (422, ["sku"])


async def test_of_two_changes_of_one_version_one_is_made(service, admin, mug):
    one = f"{PATH}/{mug['id']}"
    changes = (
        service.call("PATCH", one, user=admin, json={"product": {"price": price}}, headers={"If-Match": '"1-0"'})
        for price in (1, 2, 3, 4)
    )
    answers = await asyncio.gather(*changes)
    assert sorted(status for status, _, _ in answers) == [200, 412, 412, 412]


async def test_what_a_client_has_already_is_not_sent_again_until_it_changes(service, admin, mug):
    one = f"{PATH}/{mug['id']}"
    _, _, headers = await service.call("GET", one, user=admin)
    known = {"If-None-Match": headers["ETag"]}
    status, answer, headers = await service.call("GET", one, user=admin, headers=known)
    assert (status, answer, headers["ETag"]) == (304, None, known["If-None-Match"])
    await restock(service, admin, mug, 1)
    status, answer, _ = await service.call("GET", one, user=admin, headers=known)
    assert (status, answer["data"]["stock"]) == (200, 1)


async def test_a_deleted_product_is_gone_and_its_units_stay(service, admin, mug):
    one = f"{PATH}/{mug['id']}"
    await restock(service, admin, mug, 3)
    status, _, _ = await service.call("DELETE", one, user=admin)
    assert status == 428
    status, _, _ = await service.call("DELETE", one, user=admin, headers={"If-Match": '"7-0"'})
    assert status == 412
    status, answer, _ = await service.call("DELETE", one, user=admin, headers={"If-Match": '"1-3"'})
    assert (status, answer) == (204, None)
    for method, path, body in (
        ("GET", one, None),
        ("DELETE", one, None),
        ("PATCH", one, {"product": {}}),
        ("POST", f"{one}/restocks", {"restock": {"quantity": 1}}),
        ("POST", f"{one}/purchases", {"purchase": {"quantity": 1}}),
    ):
        status, _, _ = await service.call(method, path, user=admin, json=body, headers=ANY)
        assert status == 404, (method, path)
    _, answer, _ = await service.call("GET", f"/api/v1/accounts/{mug['stock_account_id']}", user=admin)
    assert answer["data"]["balance"] == 3
    _, answer, _ = await service.call("GET", f"{PATH}?limit=200", user=admin)
    assert mug["id"] not in {product["id"] for product in answer["data"]}


async def test_units_come_out_of_the_world_account_of_their_asset_once_a_key(service, admin, mug):
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await asyncio.gather(*(restock(service, admin, mug, 7, headers=key) for _ in range(4)))
    assert sorted(status for status, _, _ in answers) == [200, 200, 200, 201]
    shown = [answer["data"] for _, answer, _ in answers]
    assert all(each == shown[0] for each in shown)
    assert (shown[0]["quantity"], shown[0]["stock"]) == (7, 7)
    transaction = shown[0]["transaction"]
    assert (transaction["credit_account_id"], transaction["asset"]) == (mug["stock_account_id"], mug["units_asset"])
    status, answer, _ = await restock(service, admin, mug, 8, headers=key)
    assert (status, answer["code"]) == (422, "exists_with_different_amount")
    _, answer, _ = await service.call("GET", "/api/v1/ledger/trial-balance?limit=200", user=admin)
    line = next(each for each in answer["data"] if each["asset"] == mug["units_asset"])
    assert (line["accounts"], line["debits_posted"], line["difference"]) == (2, 7, 0)


async def test_an_admin_takes_units_out_of_stock_again_by_a_transfer(service, admin, mug):
    await restock(service, admin, mug, 5)
    body = {
        "debit_account_id": mug["stock_account_id"],
        "credit_account_id": "world",
        "amount": 2,
        "asset": mug["units_asset"],
    }
    user = await service.register()
    status, _, _ = await service.call(
        "POST", "/api/v1/transactions", user=user, json={"transaction": body | {"credit_account_id": user.account_id}}
    )
    assert status == 404
    status, answer, _ = await service.call("POST", "/api/v1/transactions", user=admin, json={"transaction": body})
    assert status == 201, answer
    _, answer, _ = await service.call("GET", f"{PATH}/{mug['id']}", user=user)
    assert answer["data"]["stock"] == 3


async def test_the_pages_of_the_list_have_every_product_once_newest_first_while_it_grows(service, admin):
    made = []
    for _ in range(5):
        _, answer, _ = await service.call("POST", PATH, user=admin, json=fields())
        made.append(answer["data"]["id"])
    user = await service.register()
    seen, query = [], "?limit=2"
    while query:
        status, answer, _ = await service.call("GET", PATH + query, user=user)
        assert status == 200
        assert answer["as_of_seq"] >= 0
        seen += [product["id"] for product in answer["data"]]
        query = f"?limit=2&cursor={answer['page']['next']}" if answer["page"]["has_more"] else ""
        await service.call("POST", PATH, user=admin, json=fields())
    assert seen[:5] == made[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("product_id", ["x", "6b2fc1ee-7d4c-4a57-9d6e-0f2f3b6a9d11", "%00"])
async def test_what_is_no_product_is_not_found(service, admin, product_id):
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"product": {}}),
        ("DELETE", "", None),
        ("POST", "/purchases", {"purchase": {"quantity": 1}}),
        ("POST", "/restocks", {"restock": {"quantity": 1}}),
    ):
        status, _, _ = await service.call(method, f"{PATH}/{product_id}{path}", user=admin, json=body, headers=ANY)
        assert status == 404
