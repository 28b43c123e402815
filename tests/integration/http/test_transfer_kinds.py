"""Pending transfers, what posts and voids them, reversals: every answer that a user can get, over HTTP."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import pytest_asyncio

from bitnexus.errors import REFUSALS
from tests.integration.http.test_errors import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/transactions"


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 1_000)
    return ann, ben


async def account(service, user):
    _, answer, _ = await service.call("GET", f"/api/v1/accounts/{user.account_id}", user=user)
    return answer["data"]


async def state(service, user, transfer_id):
    _, answer, _ = await service.call("GET", f"{PATH}/{transfer_id}", user=user)
    return answer["data"]["status"]


async def ask(service, user, **fields):
    headers = fields.pop("headers", {})
    return await service.call("POST", PATH, user=user, json={"transaction": fields}, headers=headers)


async def pend(service, ann, ben, amount=300, **fields):
    status, answer, _ = await service.transfer(ann, ben, amount, fields={"kind": "pending", **fields})
    assert status == 201, answer
    return answer["data"]["id"]


def assert_refused(outcome, code):
    status, answer, headers = outcome
    assert status == 422, answer
    assert_problem(answer, headers, 422, code)
    assert answer["detail"] == REFUSALS[code].message


async def test_a_pending_transfer_reserves_and_posting_a_part_releases_the_rest(service, pair):
    ann, ben = pair
    status, answer, headers = await service.transfer(ann, ben, 300, fields={"kind": "pending", "timeout_s": 600})
    made = answer["data"]
    assert (status, made["status"], made["kind"]) == (201, "pending", "pending")
    assert made["expires_at"] > made["inserted_at"]
    assert headers["Location"] == f"{PATH}/{made['id']}"
    before = await account(service, ann)
    assert (before["balance"], before["debits_pending"], before["available"]) == (1_000, 300, 700)
    status, answer, _ = await ask(service, ann, kind="post_pending", pending_id=made["id"], amount=100)
    posted = answer["data"]
    assert (status, posted["amount"], posted["status"], posted["pending_id"]) == (201, 100, "posted", made["id"])
    after = await account(service, ann)
    assert (after["balance"], after["debits_pending"], after["available"]) == (900, 0, 900)
    assert (await account(service, ben))["balance"] == 100
    for user in pair:
        _, answer, _ = await service.call("GET", f"{PATH}/{made['id']}", user=user)
        assert (answer["data"]["status"], answer["data"]["resolved_by"]) == ("posted", posted["id"])


async def test_posting_without_an_amount_posts_all_and_a_key_makes_it_once(service, pair):
    ann, ben = pair
    pending = await pend(service, ann, ben)
    headers = {"Idempotency-Key": "capture"}
    asks = (ask(service, ann, kind="post_pending", pending_id=pending, headers=headers) for _ in range(4))
    answers = await asyncio.gather(*asks)
    assert sorted(status for status, _, _ in answers) == [200] * 3 + [201]
    assert {answer["data"]["amount"] for _, answer, _ in answers} == {300}
    assert (await account(service, ben))["balance"] == 300


async def test_deleting_a_pending_transfer_voids_it(service, pair):
    ann, ben = pair
    pending = await pend(service, ann, ben)
    headers = {"Idempotency-Key": "void-it"}
    status, answer, got = await service.call("DELETE", f"{PATH}/{pending}", user=ann, headers=headers)
    assert (status, answer["data"]["kind"], answer["data"]["status"]) == (200, "void_pending", "voided")
    assert "Idempotent-Replayed" not in got
    status, again, got = await service.call("DELETE", f"{PATH}/{pending}", user=ann, headers=headers)
    assert (status, again, got["Idempotent-Replayed"]) == (200, answer, "true")
    assert (await account(service, ann))["available"] == 1_000
    assert await state(service, ann, pending) == "voided"
    assert_refused(await service.call("DELETE", f"{PATH}/{pending}", user=ann), "pending_transfer_already_voided")


async def test_a_pending_transfer_whose_time_is_over_is_released(service, pair):
    ann, ben = pair
    pending = await pend(service, ann, ben, timeout_s=1)
    async with asyncio.timeout(10):
        while await state(service, ann, pending) != "expired":
            await asyncio.sleep(0.05)
    assert (await account(service, ann))["available"] == 1_000
    assert_refused(await ask(service, ann, kind="post_pending", pending_id=pending), "pending_transfer_expired")


async def test_an_admin_reverses_a_posted_transfer_once_and_a_user_does_not(service, pair):
    ann, ben = pair
    admin = await service.admin()
    _, answer, _ = await service.transfer(ann, ben, 400)
    made = answer["data"]["id"]
    for user in pair:
        status, answer, headers = await service.call("DELETE", f"{PATH}/{made}", user=user)
        assert status == 403
        assert_problem(answer, headers, 403, "forbidden")
    status, answer, _ = await service.call("DELETE", f"{PATH}/{made}", user=admin)
    back = answer["data"]
    assert (status, back["kind"], back["reverses_id"], back["amount"]) == (200, "reversal", made, 400)
    assert (back["debit_account_id"], back["credit_account_id"]) == (ben.account_id, ann.account_id)
    assert (await account(service, ann))["balance"] == 1_000
    assert await state(service, ann, made) == "reversed"
    assert_refused(await service.call("DELETE", f"{PATH}/{made}", user=admin), "reversed_transfer_already_reversed")


async def test_what_was_refused_can_be_reversed_later_because_each_attempt_is_a_new_one(service, pair):
    ann, ben = pair
    admin = await service.admin()
    _, answer, _ = await service.transfer(ann, ben, 400)
    made = answer["data"]["id"]
    await service.transfer(ben, ann, 400)
    assert_refused(await service.call("DELETE", f"{PATH}/{made}", user=admin), "exceeds_credits")
    await service.fund(ben, 400)
    status, _, _ = await service.call("DELETE", f"{PATH}/{made}", user=admin)
    assert status == 200


async def test_only_who_pays_or_an_admin_resolves_a_pending_transfer(service, pair):
    ann, ben = pair
    eve, admin = await service.register(), await service.admin()
    pending = await pend(service, ann, ben)
    status, answer, headers = await service.call("DELETE", f"{PATH}/{pending}", user=ben)
    assert_problem(answer, headers, 403, "forbidden")
    status, answer, headers = await service.call("DELETE", f"{PATH}/{pending}", user=eve)
    assert_problem(answer, headers, 404, "not_found")
    for user in (ben, eve):
        status, answer, headers = await ask(service, user, kind="post_pending", pending_id=pending)
        assert status == 404
        assert_problem(answer, headers, 404, "not_found")
    explicit = {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 300}
    status, answer, _ = await ask(service, eve, kind="void_pending", pending_id=pending, **explicit)
    assert (status, answer["detail"]) == (404, "You have no such account to debit")
    status, answer, _ = await ask(service, admin, kind="post_pending", pending_id=pending)
    assert status == 201


async def test_a_user_cannot_ask_for_a_reversal_by_its_kind_either(service, pair):
    ann, ben = pair
    _, answer, _ = await service.transfer(ann, ben, 10)
    made = answer["data"]["id"]
    status, answer, headers = await ask(service, ann, kind="reversal", reverses_id=made)
    assert_problem(answer, headers, 403, "forbidden")
    admin = await service.admin()
    status, answer, _ = await ask(service, admin, kind="reversal", reverses_id=made)
    assert (status, answer["data"]["debit_account_id"]) == (201, ben.account_id)


@pytest.mark.parametrize("path", ["x", "6b2fc1ee-7d4c-4a57-9d6e-0f2f3b6a9d11"])
async def test_what_does_not_exist_is_not_deleted(service, pair, path):
    status, answer, headers = await service.call("DELETE", f"{PATH}/{path}", user=pair[0])
    assert status == 404
    assert_problem(answer, headers, 404, "not_found")


async def test_each_rule_of_the_kinds_has_its_refusal(service, pair):
    ann, ben = pair
    other = await service.register()
    pending = await pend(service, ann, ben)
    both = {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id}
    whole = {**both, "amount": 300}
    _, answer, _ = await service.transfer(ann, ben, 1)
    plain = answer["data"]["id"]
    unknown = str(uuid.uuid4())
    cases = [
        ({**whole, "timeout_s": 5}, "timeout_reserved_for_pending_transfer"),
        ({**whole, "pending_id": pending}, "pending_id_mismatches_kind"),
        ({**whole, "kind": "void_pending"}, "pending_id_mismatches_kind"),
        ({**whole, "reverses_id": plain}, "reverses_id_mismatches_kind"),
        ({**whole, "kind": "pending", "credit_account_id": ann.account_id}, "accounts_must_be_different"),
        ({**whole, "kind": "pending", "credit_account_id": unknown}, "credit_account_not_found"),
        ({**whole, "kind": "pending", "asset": "EUR/2"}, "asset_mismatch"),
        ({**whole, "kind": "post_pending", "pending_id": unknown}, "pending_transfer_not_found"),
        ({"kind": "post_pending", "pending_id": plain}, "pending_transfer_not_pending"),
        (
            {"kind": "void_pending", "pending_id": pending, "credit_account_id": other.account_id},
            "pending_transfer_has_different_credit_account_id",
        ),
        ({"kind": "void_pending", "pending_id": pending, "amount": 1}, "pending_transfer_has_different_amount"),
        ({"kind": "post_pending", "pending_id": pending, "amount": 301}, "exceeds_pending_transfer_amount"),
        ({**whole, "kind": "pending", "amount": 701}, "exceeds_credits"),
    ]
    for fields, code in cases:
        assert_refused(await ask(service, ann, **fields), code)
    key = {"headers": {"Idempotency-Key": "same"}}
    assert (await ask(service, ann, kind="post_pending", pending_id=pending, **key))[0] == 201
    assert_refused(
        await ask(service, ann, kind="void_pending", pending_id=pending, **key), "exists_with_different_kind"
    )
    assert_refused(await ask(service, ann, kind="post_pending", pending_id=pending), "pending_transfer_already_posted")
    admin = await service.admin()
    assert_refused(await ask(service, admin, kind="reversal", reverses_id=pending), "reversed_transfer_not_posted")
    assert_refused(
        await ask(service, admin, kind="reversal", reverses_id=plain, amount=2),
        "reversed_transfer_has_different_amount",
    )


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ["amount", "credit_account_id", "debit_account_id"]),
        ({"kind": "pending"}, ["debit_account_id", "credit_account_id", "amount"]),
        ({"kind": "post_pending"}, ["pending_id"]),
        ({"kind": "reversal"}, ["reverses_id"]),
        ({"kind": "expire_pending"}, ["kind"]),
        ({"kind": "void_pending", "pending_id": "x"}, ["pending_id"]),
        ({"kind": "pending", "timeout_s": -1}, ["timeout_s"]),
        ({"kind": "pending", "timeout_s": 2**31}, ["timeout_s"]),
        (
            {"kind": "reversal", "reverses_id": str(uuid.UUID(int=1)), "pending_id": str(uuid.UUID(int=2))},
            ["reverses_id"],
        ),
    ],
)
async def test_what_breaks_the_form_is_named_by_its_field(service, pair, fields, wrong):
    status, answer, _ = await ask(service, pair[0], **fields)
    assert (status, list(answer["errors"])) == (422, wrong)


async def test_a_reference_to_nothing_is_not_found_if_something_was_to_follow_from_it(service, pair):
    status, answer, headers = await ask(service, pair[0], kind="void_pending", pending_id=str(uuid.uuid4()))
    assert status == 404
    assert_problem(answer, headers, 404, "not_found")


async def test_the_pages_of_a_list_show_everything_as_of_one_event(service, pair):
    ann, ben = pair
    first = await pend(service, ann, ben)
    await pend(service, ann, ben)
    for path in (PATH, f"/api/v1/accounts/{ann.account_id}/history"):
        _, page, _ = await service.call("GET", f"{path}?limit=1", user=ann)
        seen = f"{path}?limit=1&cursor={page['page']['next']}"
        _, before, _ = await service.call("GET", seen, user=ann)
        said = {"json": {"transaction": {"description": path}}, "headers": {"If-Match": "*"}}
        await service.call("PUT", f"{PATH}/{first}", user=ann, **said)
        await service.call("DELETE", f"{PATH}/{first}", user=ann)
        _, after, _ = await service.call("GET", seen, user=ann)
        assert after == before
        _, fresh, _ = await service.call("GET", path, user=ann)
        (now,) = [each for each in fresh["data"] if each["id"] == first]
        assert (now["status"], now["description"]) == ("voided", path)


async def test_the_list_shows_what_has_become_of_each(service, pair):
    ann, ben = pair
    pending = await pend(service, ann, ben)
    await service.call("DELETE", f"{PATH}/{pending}", user=ann)
    _, answer, _ = await service.call("GET", f"{PATH}?limit=2", user=ann)
    assert [(each["kind"], each["status"]) for each in answer["data"]] == [
        ("void_pending", "voided"),
        ("pending", "voided"),
    ]
