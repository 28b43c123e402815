"""Opening accounts, freezing and closing them: every answer that can be got, over HTTP."""

from __future__ import annotations

import uuid

import pytest

from bitnexus.errors import REFUSALS
from tests.integration.http.test_errors import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/accounts"


async def opened(service, user, headers=None, **fields):
    return await service.call("POST", PATH, user=user, json={"account": fields}, headers=headers or {})


async def change(service, user, account_id, action):
    return await service.call("POST", f"{PATH}/{account_id}/{action}", user=user)


async def test_a_user_opens_a_second_account_and_pays_from_it(service):
    ann = await service.register()
    await service.fund(ann, 100)
    status, answer, headers = await opened(service, ann, code=7)
    made = answer["data"]
    assert (status, headers["Location"]) == (201, f"{PATH}/{made['id']}")
    assert (made["owner_id"], made["code"], made["status"], made["balance"]) == (ann.id, 7, "open", 0)
    there = {"debit_account_id": ann.account_id, "credit_account_id": made["id"], "amount": 60}
    back = {"debit_account_id": made["id"], "credit_account_id": ann.account_id, "amount": 10}
    for fields in (there, back):
        status, answer, _ = await service.call("POST", "/api/v1/transactions", user=ann, json={"transaction": fields})
        assert status == 201, answer
    _, answer, _ = await service.call("GET", PATH, user=ann)
    assert {each["id"]: each["balance"] for each in answer["data"]} == {ann.account_id: 50, made["id"]: 50}


async def test_a_key_opens_one_account(service):
    ann = await service.register()
    key = {"Idempotency-Key": "savings"}
    first, again = await opened(service, ann, key), await opened(service, ann, key)
    assert (first[0], again[0]) == (201, 200)
    assert first[1] == again[1]
    assert again[2]["Idempotent-Replayed"] == "true"
    status, answer, headers = await opened(service, ann, key, code=1)
    assert status == 409
    assert_problem(answer, headers, 409, "conflict")


async def test_only_an_admin_opens_accounts_for_others_or_with_a_credit_limit(service):
    ann, admin = await service.register(), await service.admin()
    for fields in ({"owner_id": str(uuid.uuid4())}, {"credit_limit": 5}, {"flags": 0}):
        status, answer, headers = await opened(service, ann, **fields)
        assert status == 403
        assert_problem(answer, headers, 403, "forbidden")
    status, answer, _ = await opened(service, admin, owner_id=ann.id, credit_limit=500)
    made = answer["data"]
    assert (status, made["owner_id"], made["credit_limit"], made["available"]) == (201, ann.id, 500, 500)
    fields = {"debit_account_id": made["id"], "credit_account_id": ann.account_id, "amount": 500}
    status, _, _ = await service.call("POST", "/api/v1/transactions", user=ann, json={"transaction": fields})
    assert status == 201
    status, answer, _ = await service.call(
        "POST", "/api/v1/transactions", user=ann, json={"transaction": {**fields, "amount": 1}}
    )
    assert (status, answer["code"]) == (422, "exceeds_credits")


async def test_an_asset_begins_with_the_first_account_that_an_admin_opens_in_it(service):
    ann, admin = await service.register(), await service.admin()
    asset = f"X{uuid.uuid4().hex}/0"
    status, answer, headers = await opened(service, ann, asset=asset)
    assert status == 422
    assert_problem(answer, headers, 422, "invalid_fields")
    assert answer["errors"] == {"asset": ["There is no such asset"]}
    assert (await opened(service, admin, asset=asset))[0] == 201
    status, answer, _ = await opened(service, ann, asset=asset)
    own = answer["data"]["id"]
    assert status == 201
    fields = {"debit_account_id": "world", "credit_account_id": own, "amount": 3, "asset": asset}
    status, _, _ = await service.call("POST", "/api/v1/transactions", user=admin, json={"transaction": fields})
    assert status == 201
    fields = {"debit_account_id": own, "credit_account_id": ann.account_id, "amount": 3, "asset": asset}
    status, answer, _ = await service.call("POST", "/api/v1/transactions", user=ann, json={"transaction": fields})
    assert (status, answer["code"]) == (422, "asset_mismatch")


@pytest.mark.parametrize(
    "fields",
    [
        {"asset": "usd"},
        {"code": -1},
        {"id": "x"},
        {"id": str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))},
        {"flags": 4},
        {"credit_limit": -1},
        {"balance": 5},
    ],
)
async def test_an_account_that_breaks_a_rule_is_refused(service, fields):
    admin = await service.admin()
    status, answer, _ = await opened(service, admin, **fields)
    assert (status, list(answer["errors"])) == (422, list(fields))


async def test_an_id_and_a_key_are_not_mixed(service):
    ann = await service.register()
    status, answer, _ = await opened(service, ann, {"Idempotency-Key": "k"}, id=str(uuid.uuid4()))
    assert (status, list(answer["errors"])) == (422, ["id"])


async def test_a_frozen_account_neither_pays_nor_is_paid_until_it_is_unfrozen(service):
    ann, ben, admin = await service.register(), await service.register(), await service.admin()
    await service.fund(ann, 100)
    _, answer, _ = await service.transfer(ann, ben, 5, fields={"kind": "pending"})
    pending = answer["data"]["id"]
    key = {"Idempotency-Key": "before"}
    await service.transfer(ann, ben, 1, headers=key)
    status, answer, _ = await change(service, admin, ann.account_id, "freeze")
    assert (status, answer["data"]["status"]) == (200, "frozen")
    refused = {"Idempotency-Key": "meanwhile"}
    status, answer, headers = await service.transfer(ann, ben, 1, headers=refused)
    assert status == 422
    assert_problem(answer, headers, 422, "account_frozen")
    assert answer["detail"] == REFUSALS["account_frozen"].message
    status, _, headers = await service.transfer(ann, ben, 1, headers=key)
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")
    status, _, _ = await service.call("DELETE", f"/api/v1/transactions/{pending}", user=ann)
    assert status == 200, "what is pending can still be voided"
    status, answer, _ = await change(service, admin, ann.account_id, "unfreeze")
    assert (status, answer["data"]["status"]) == (200, "open")
    assert (await service.transfer(ann, ben, 1))[0] == 201
    status, answer, headers = await service.transfer(ann, ben, 1, headers=refused)
    assert (status, answer["code"], headers["Idempotent-Replayed"]) == (422, "account_frozen", "true")


async def test_an_empty_account_is_closed_for_good(service):
    ann, ben, admin = await service.register(), await service.register(), await service.admin()
    await service.fund(ann, 100)
    status, answer, headers = await change(service, admin, ann.account_id, "close")
    assert status == 409
    assert_problem(answer, headers, 409, "conflict")
    assert (await service.transfer(ann, ben, 100))[0] == 201
    for _ in range(2):
        status, answer, _ = await change(service, admin, ann.account_id, "close")
        assert (status, answer["data"]["status"]) == (200, "closed")
    status, answer, _ = await change(service, admin, ann.account_id, "unfreeze")
    assert (status, answer["code"]) == (409, "conflict")
    status, answer, headers = await service.transfer(ben, ann, 1)
    assert status == 422
    assert_problem(answer, headers, 422, "account_closed")


@pytest.mark.parametrize("action", ["freeze", "unfreeze", "close"])
async def test_a_user_changes_no_account_and_an_admin_none_that_is_not_there(service, action):
    ann, admin = await service.register(), await service.admin()
    status, answer, headers = await change(service, ann, ann.account_id, action)
    assert_problem(answer, headers, 403, "forbidden")
    for unknown in (str(uuid.uuid4()), "x"):
        status, answer, headers = await change(service, admin, unknown, action)
        assert status == 404
        assert_problem(answer, headers, 404, "not_found")
