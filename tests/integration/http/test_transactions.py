from __future__ import annotations

import asyncio
import uuid

import pytest
import pytest_asyncio

from bitnexus.http.idempotency import transfer_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/transactions"


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 1_000)
    return ann, ben


async def balance(service, user):
    _, answer, _ = await service.call("GET", f"/api/v1/accounts/{user.account_id}", user=user)
    return answer["data"]["balance"]


async def test_a_transfer_moves_money_and_is_shown_to_both(service, pair):
    ann, ben = pair
    fields = {"description": "lunch", "metadata": {"b": 1, "a": [None, "ü"]}, "code": 7, "asset": "USD/2"}
    status, answer, headers = await service.transfer(ann, ben, 250, fields=fields)
    assert status == 201
    made = answer["data"]
    assert headers["Location"] == f"{PATH}/{made['id']}"
    assert "Idempotent-Replayed" not in headers
    assert {key: made[key] for key in fields} == fields
    assert (made["amount"], made["debit_account_id"], made["credit_account_id"]) == (
        250,
        ann.account_id,
        ben.account_id,
    )
    assert (await balance(service, ann), await balance(service, ben)) == (750, 250)
    for user in pair:
        status, answer, _ = await service.call("GET", f"{PATH}/{made['id']}", user=user)
        assert (status, answer["data"]) == (200, made)
        _, answer, _ = await service.call("GET", PATH, user=user)
        assert answer["data"][0] == made


async def test_a_key_makes_one_transfer_however_often_it_is_sent(service, pair):
    ann, ben = pair
    sends = (service.transfer(ann, ben, 10, headers={"Idempotency-Key": key}) for key in ["k-1", '"k-1"'] * 4)
    answers = await asyncio.gather(*sends)
    assert sorted(status for status, _, _ in answers) == [200] * 7 + [201]
    assert {headers.get("Idempotent-Replayed", "") for status, _, headers in answers if status == 200} == {"true"}
    assert {answer["data"]["id"] for _, answer, _ in answers} == {transfer_id(ann.id, "k-1")}
    assert await balance(service, ben) == 10


async def test_a_key_with_another_body_is_refused(service, pair):
    ann, ben = pair
    headers = {"Idempotency-Key": "k"}
    await service.transfer(ann, ben, 10, headers=headers)
    status, answer, _ = await service.transfer(ann, ben, 11, headers=headers)
    assert (status, answer["code"]) == (422, "exists_with_different_amount")


async def test_two_users_may_use_the_same_key(service, pair):
    ann, ben = pair
    headers = {"Idempotency-Key": "same"}
    first, _, _ = await service.transfer(ann, ben, 10, headers=headers)
    second, _, _ = await service.transfer(ben, ann, 10, headers=headers)
    assert (first, second) == (201, 201)


async def test_an_id_of_the_clients_own_is_kept_and_not_mixed_with_a_key(service, pair):
    ann, ben = pair
    own = str(uuid.uuid4())
    status, answer, _ = await service.transfer(ann, ben, 1, fields={"id": own.upper()})
    assert (status, answer["data"]["id"]) == (201, own)
    status, answer, _ = await service.transfer(ann, ben, 1, fields={"id": own})
    assert status == 200
    status, answer, _ = await service.transfer(ann, ben, 1, fields={"id": own}, headers={"Idempotency-Key": "k"})
    assert (status, list(answer["errors"])) == (422, ["id"])


async def test_a_refusal_names_its_code_and_repeats(service, pair):
    ann, ben = pair
    headers = {"Idempotency-Key": "too-much"}
    status, answer, got = await service.transfer(ann, ben, 5_000, headers=headers)
    assert (status, answer["code"]) == (422, "exceeds_credits")
    assert "Idempotent-Replayed" not in got
    await service.fund(ann, 10_000)
    status, answer, got = await service.transfer(ann, ben, 5_000, headers=headers)
    assert (status, answer["code"], got["Idempotent-Replayed"]) == (422, "exceeds_credits", "true")
    assert await balance(service, ben) == 0


async def test_another_users_account_cannot_be_debited(service, pair):
    ann, ben = pair
    fields = {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 1}
    status, _, _ = await service.call("POST", PATH, user=ben, json={"transaction": fields})
    assert status in (403, 404)
    assert await balance(service, ann) == 1_000


async def test_a_user_cannot_use_the_world_account(service, pair):
    ann, _ = pair
    fields = {"debit_account_id": "world", "credit_account_id": ann.account_id, "amount": 1}
    status, answer, _ = await service.call("POST", PATH, user=ann, json={"transaction": fields})
    assert (status, answer["code"]) == (403, "forbidden")


async def test_an_admin_sees_the_world_and_every_transfer(service, pair):
    ann, ben = pair
    admin = await service.admin()
    _, made, _ = await service.transfer(ann, ben, 1)
    status, answer, _ = await service.call("GET", f"{PATH}/{made['data']['id']}", user=admin)
    assert (status, answer["data"]) == (200, made["data"])
    _, answer, _ = await service.call("GET", "/api/v1/accounts", user=admin)
    assert admin.account_id in {account["id"] for account in answer["data"] if account["kind"] == "world"}
    _, answer, _ = await service.call("GET", f"{PATH}?account_id={ann.account_id}", user=admin)
    assert answer["data"][0] == made["data"]


async def test_what_is_anothers_does_not_exist(service, pair):
    ann, ben = pair
    eve = await service.register()
    _, made, _ = await service.transfer(ann, ben, 1)
    for path in (
        f"{PATH}/{made['data']['id']}",
        f"{PATH}/{uuid.uuid4()}",
        f"{PATH}/x",
        f"/api/v1/accounts/{ann.account_id}",
        f"/api/v1/accounts/{ann.account_id}/history",
        f"/api/v1/accounts/{uuid.uuid4()}",
        "/api/v1/accounts/x/history",
        f"{PATH}?account_id={ann.account_id}",
    ):
        status, answer, _ = await service.call("GET", path, user=eve)
        assert (status, answer["code"]) == (404, "not_found"), path
    _, answer, _ = await service.call("GET", PATH, user=eve)
    assert answer["data"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 0),
        ("amount", -1),
        ("amount", 2**53),
        ("amount", 10**40),
        ("amount", 1.0),
        ("amount", "1"),
        ("amount", True),
        ("amount", None),
        ("debit_account_id", "x"),
        ("debit_account_id", "WORLD"),
        ("credit_account_id", None),
        ("asset", "usd"),
        ("asset", "USD/19"),
        ("code", -1),
        ("code", 2**31),
        ("description", "x" * 501),
        ("description", "a\x00b"),
        ("description", "\ud800"),
        ("metadata", []),
        ("metadata", {"k": "x" * 5_000}),
        ("metadata", {"k": 2**60}),
        ("metadata", {"k": "\x00"}),
        ("id", "x"),
        ("user_id", "6b2fc1ee-7d4c-4a57-9d6e-0f2f3b6a9d11"),
        ("seq", 5),
    ],
)
async def test_a_transfer_that_breaks_a_rule_is_refused(service, pair, field, value):
    ann, ben = pair
    status, answer, _ = await service.transfer(ann, ben, 1, fields={field: value})
    assert status == 422
    assert list(answer["errors"]) == [field]


@pytest.mark.parametrize("key", ["", "x" * 256, '"open', "é"])
async def test_a_key_that_breaks_a_rule_is_refused(service, pair, key):
    ann, ben = pair
    status, answer, _ = await service.transfer(ann, ben, 1, headers={"Idempotency-Key": key})
    assert (status, list(answer["errors"])) == (422, ["Idempotency-Key"])


async def test_pages_of_a_history_have_every_entry_once_while_it_grows(service, pair):
    ann, ben = pair
    for amount in range(1, 8):
        await service.transfer(ann, ben, amount)
    path = f"/api/v1/accounts/{ann.account_id}/history"
    query: str | None = "?limit=3"
    seen = []
    while query is not None:
        status, answer, headers = await service.call("GET", path + query, user=ann)
        assert status == 200
        assert len(answer["data"]) <= 3
        assert answer["as_of_seq"] >= answer["data"][0]["seq"]
        seen += answer["data"]
        more = answer["page"]["has_more"]
        assert more == (answer["page"]["next"] is not None) == ("Link" in headers)
        query = f"?limit=3&cursor={answer['page']['next']}" if more else None
        if more:
            assert headers["Link"] == f'<{path}{query}>; rel="next"'
        await service.transfer(ann, ben, 100)
    assert [entry["amount"] for entry in seen] == [7, 6, 5, 4, 3, 2, 1, 1_000]
    assert [entry["direction"] for entry in seen] == ["debit"] * 7 + ["credit"]
    assert [entry["balance"] for entry in seen] == [972, 979, 985, 990, 994, 997, 999, 1_000]


async def test_a_cursor_serves_its_own_list_alone(service, pair):
    ann, ben = pair
    for _ in range(3):
        await service.transfer(ann, ben, 1)
    _, answer, _ = await service.call("GET", f"{PATH}?limit=1", user=ann)
    cursor = answer["page"]["next"]
    for user, path in (
        (ben, PATH),
        (ann, f"/api/v1/accounts/{ann.account_id}/history"),
        (ann, f"{PATH}?account_id={ann.account_id}"),
    ):
        mark = "&" if "?" in path else "?"
        status, answer, _ = await service.call("GET", f"{path}{mark}cursor={cursor}", user=user)
        assert (status, answer["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "page=1", "cursor=" + "x" * 600]
)
async def test_a_query_that_breaks_a_rule_is_refused(service, query):
    user = await service.register()
    status, answer, _ = await service.call("GET", f"{PATH}?{query}", user=user)
    assert (status, answer["code"]) == (422, "invalid_fields")
