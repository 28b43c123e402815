"""Batches over HTTP: a result for each transfer, all or none, repeated safely, and every way to be refused."""

from __future__ import annotations

import asyncio
import io
import uuid

import orjson
import pytest
import pytest_asyncio

from bitnexus.errors import REFUSALS
from bitnexus.http.idempotency import transfer_id
from tests.integration.http.test_errors import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/transactions/batch"


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 1_000)
    return ann, ben


async def balance(service, user):
    _, answer, _ = await service.call("GET", f"/api/v1/accounts/{user.account_id}", user=user)
    return answer["data"]["balance"]


def pay(payer, payee, amount=1, **fields):
    return {"debit_account_id": payer.account_id, "credit_account_id": payee.account_id, "amount": amount, **fields}


async def send(service, user, *transactions, headers=None, **fields):
    return await raw(service, user, orjson.dumps({"transactions": list(transactions), **fields}), headers)


async def raw(service, user, body, headers=None):
    headers = {"Content-Type": "application/json", **(headers or {})}
    return await service.call("POST", PATH, user=user, data=io.BytesIO(body), headers=headers)


async def test_each_transfer_has_its_result_and_a_refused_one_stops_no_other(service, pair):
    ann, ben = pair
    status, answer, headers = await send(service, ann, pay(ann, ben, 10), pay(ann, ben, 5_000), pay(ann, ben, 20))
    assert status == 200
    assert "Idempotent-Replayed" not in headers
    told = answer["data"]
    assert (told["atomic"], told["accepted"], told["refused"], told["replayed"]) == (False, 2, 1, 0)
    first, second, third = told["results"]
    assert [each["index"] for each in told["results"]] == [0, 1, 2]
    assert (first["status"], third["status"]) == ("posted", "posted")
    assert (third["seq"], third["block"]) == (first["seq"] + 2, first["block"])
    assert (second["status"], second["code"]) == ("refused", "exceeds_credits")
    assert second["detail"] == REFUSALS["exceeds_credits"].message
    assert (await balance(service, ann), await balance(service, ben)) == (970, 30)
    _, answer, _ = await service.call("GET", f"/api/v1/transactions/{first['id']}", user=ben)
    assert (answer["data"]["amount"], answer["data"]["seq"]) == (10, first["seq"])


async def test_an_atomic_batch_is_posted_as_a_whole_or_not_at_all(service, pair):
    ann, ben = pair
    status, answer, _ = await send(service, ann, pay(ann, ben, 10), pay(ann, ben, 20), atomic=True)
    assert (status, answer["data"]["accepted"], answer["data"]["atomic"]) == (200, 2, True)
    key = {"Idempotency-Key": "whole"}
    for replayed in (False, True):
        outcome = await send(service, ann, pay(ann, ben, 10), pay(ann, ben, 5_000), headers=key, atomic=True)
        status, answer, headers = outcome
        assert status == 422
        assert_problem(answer, headers, 422, "exceeds_credits")
        assert (answer["title"], answer["index"]) == ("Batch refused", 1)
        assert [each["code"] for each in answer["results"]] == ["linked_event_failed", "exceeds_credits"]
        assert ("Idempotent-Replayed" in headers) == replayed
    assert await balance(service, ben) == 30


async def test_a_batch_with_a_key_takes_effect_once_however_often_it_is_sent(service, pair):
    ann, ben = pair
    key = {"Idempotency-Key": "payday"}
    items = [pay(ann, ben, 1, description=f"line {n}", metadata={"n": n}) for n in range(50)]
    answers = await asyncio.gather(*(send(service, ann, *items, headers=key) for _ in range(6)))
    assert {status for status, _, _ in answers} == {200}
    assert sorted(answer["data"]["replayed"] for _, answer, _ in answers) == [0] + [50] * 5
    assert sum("Idempotent-Replayed" in headers for _, _, headers in answers) == 5
    ids = {tuple(each["id"] for each in answer["data"]["results"]) for _, answer, _ in answers}
    assert ids == {tuple(transfer_id(ann.id, f"payday\x00{n}") for n in range(50))}
    assert await balance(service, ben) == 50
    status, answer, _ = await send(service, ann, pay(ann, ben, 2), *items[1:], pay(ann, ben), headers=key)
    told = answer["data"]
    assert (status, told["accepted"], told["replayed"]) == (200, 50, 49)
    assert told["results"][0]["code"] == "exists_with_different_amount"


async def test_ids_of_the_clients_own_are_kept_and_not_mixed_with_a_key(service, pair):
    ann, ben = pair
    own = str(uuid.uuid4())
    status, answer, _ = await send(service, ann, pay(ann, ben, id=own.upper()), pay(ann, ben))
    assert (status, answer["data"]["results"][0]["id"]) == (200, own)
    status, answer, _ = await send(service, ann, pay(ann, ben, id=own), pay(ann, ben, id=own))
    assert [each.get("replayed") for each in answer["data"]["results"]] == [True, True]
    status, answer, _ = await send(service, ann, pay(ann, ben), pay(ann, ben, id=own), headers={"Idempotency-Key": "k"})
    assert (status, answer["pointers"][0]["pointer"]) == (422, "#/transactions/1/id")


async def test_an_id_twice_in_an_atomic_batch_is_a_bad_request(service, pair):
    ann, ben = pair
    own = str(uuid.uuid4())
    status, answer, headers = await send(service, ann, pay(ann, ben, id=own), pay(ann, ben, id=own), atomic=True)
    assert status == 400
    assert_problem(answer, headers, 400, "bad_request")


async def test_all_kinds_are_taken_and_may_refer_to_each_other(service, pair):
    ann, ben = pair
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    status, answer, _ = await send(
        service,
        ann,
        pay(ann, ben, 100, kind="pending", id=one),
        pay(ann, ben, 50, kind="pending", id=two, timeout_s=60),
        {"kind": "post_pending", "pending_id": one, "amount": 60},
        {"kind": "void_pending", "pending_id": two},
        {"kind": "void_pending", "pending_id": one},
    )
    assert status == 200, answer
    results = answer["data"]["results"]
    assert [each["status"] for each in results] == ["pending", "pending", "posted", "voided", "refused"]
    assert results[4]["code"] == "pending_transfer_already_posted"
    assert await balance(service, ben) == 60


async def test_a_batch_with_another_users_account_is_refused_before_anything_is_done(service, pair):
    ann, ben = pair
    status, answer, headers = await send(service, ben, pay(ben, ann), pay(ann, ben))
    assert status == 404
    assert_problem(answer, headers, 404, "not_found")
    assert answer["detail"] == "Transfer 1: You have no such account to debit"
    world = {"debit_account_id": "world", "credit_account_id": ben.account_id, "amount": 1}
    status, answer, headers = await send(service, ben, world)
    assert_problem(answer, headers, 403, "forbidden")
    reversal = {"kind": "reversal", "reverses_id": str(uuid.uuid4()), **pay(ben, ann)}
    status, answer, headers = await send(service, ben, reversal)
    assert_problem(answer, headers, 403, "forbidden")
    assert await balance(service, ann) == 1_000


@pytest.mark.parametrize("kind", ["post", "pending"])
async def test_an_admin_may_debit_the_world_and_no_user_s_account_alone_or_in_a_batch(service, pair, kind):
    ann, ben = pair
    admin = await service.admin()
    world = {"debit_account_id": "world", "credit_account_id": ben.account_id, "amount": 5}
    status, answer, headers = await send(service, admin, world, pay(ann, ben, 7, kind=kind))
    assert_problem(answer, headers, 404, "not_found")
    assert answer["detail"] == "Transfer 1: You have no such account to debit"
    alone = {"transaction": pay(ann, ben, 7, kind=kind)}
    status, answer, headers = await service.call("POST", "/api/v1/transactions", user=admin, json=alone)
    assert_problem(answer, headers, 404, "not_found")
    assert (await balance(service, ann), await balance(service, ben)) == (1_000, 0)
    status, answer, _ = await send(service, admin, world)
    assert (status, answer["data"]["accepted"]) == (200, 1)
    assert await balance(service, ben) == 5


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/transactions"),
        ({"transactions": []}, "#/transactions"),
        ({"transactions": {}}, "#/transactions"),
        ({"transactions": [5]}, "#/transactions/0"),
        ({"transactions": [{}]}, "#/transactions/0/debit_account_id"),
        ({"transactions": [{"kind": "post_pending"}]}, "#/transactions/0/pending_id"),
        ({"transactions": [{"amount": 0}]}, "#/transactions/0/amount"),
        ({"transactions": [{"linked": True}]}, "#/transactions/0/linked"),
        ({"transactions": [{"amount": 1}], "atomic": 1}, "#/atomic"),
        ({"transactions": [{"amount": 1}], "key": "x"}, "#/key"),
    ],
)
async def test_a_batch_that_breaks_the_form_names_the_place(service, body, pointer):
    user = await service.register()
    status, answer, headers = await service.call("POST", PATH, user=user, json=body)
    assert status == 422
    assert_problem(answer, headers, 422, "invalid_fields")
    assert answer["pointers"][0]["pointer"] == pointer


async def test_a_key_twice_in_one_transfer_is_refused_as_in_every_body(service, pair):
    body = b'{"transactions": [{"amount": 1, "amount": 2}]}'
    status, answer, headers = await raw(service, pair[0], body)
    assert status == 400
    assert_problem(answer, headers, 400, "bad_request")


async def test_a_batch_of_8000_is_one_block_and_one_more_is_too_many(service, pair):
    ann, ben = pair
    await service.fund(ann, 8_000)
    items = [pay(ann, ben, id=str(uuid.uuid4())) for _ in range(8_001)]
    status, answer, _ = await send(service, ann, *items)
    assert (status, answer["pointers"][0]["pointer"]) == (422, "#/transactions")
    status, answer, _ = await send(service, ann, *items[:8_000], atomic=True)
    assert (status, answer["data"]["accepted"]) == (200, 8_000)
    assert len({each["block"] for each in answer["data"]["results"]}) == 1
    assert await balance(service, ben) == 8_000


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_batch_that_is_too_large_is_refused(service, pair, chunked):
    body = b'{"transactions": [{"description": "' + b"x" * 3_200_000 + b'"}]}'

    async def chunks():
        for at in range(0, len(body), 500_000):
            yield body[at : at + 500_000]

    options = {"data": chunks() if chunked else io.BytesIO(body), "headers": {"Content-Type": "application/json"}}
    status, answer, headers = await service.call("POST", PATH, user=pair[0], **options)
    assert status == 413
    assert_problem(answer, headers, 413, "payload_too_large")


async def test_metadata_that_grows_beyond_the_bound_is_refused(service, pair):
    ann, ben = pair
    # 1e15 has four characters; written out it has eighteen.
    item = orjson.dumps(pay(ann, ben))[:-1] + b',"metadata":{"a":[' + b",".join([b"1e15"] * 200) + b"]}}"
    body = b'{"transactions":[' + b",".join([item] * 2_000) + b"]}"
    assert len(body) < 3 * 1024 * 1024
    status, answer, headers = await raw(service, ann, body)
    assert status == 413
    assert_problem(answer, headers, 413, "payload_too_large")


async def test_a_stranger_sends_no_batch(service):
    status, answer, headers = await service.call("POST", PATH, json={"transactions": []})
    assert status == 401
    assert_problem(answer, headers, 401, "unauthorized")


async def test_more_batches_at_once_than_a_front_takes_wait_for_their_turn(service, pair):
    ann, ben = pair
    sends = (send(service, ann, *[pay(ann, ben)] * 10) for _ in range(40))
    answers = await asyncio.gather(*sends)
    assert {status for status, _, _ in answers} == {200}
    assert await balance(service, ben) == 400
