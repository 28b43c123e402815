"""PUT and PATCH of a transfer: other words, over HTTP, and every way to be refused."""

from __future__ import annotations

import uuid

import pytest
import pytest_asyncio

from tests.integration.http.test_errors import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/transactions"


@pytest_asyncio.fixture(loop_scope="session")
async def made(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 1_000)
    fields = {"description": "lunch", "metadata": {"table": 4}}
    _, answer, _ = await service.transfer(ann, ben, 10, fields=fields)
    return ann, ben, answer["data"]


async def say(service, user, method, transfer_id, headers=None, **fields):
    body, headers = {"transaction": fields}, {"If-Match": "*", **(headers or {})}
    return await service.call(method, f"{PATH}/{transfer_id}", user=user, json=body, headers=headers)


async def test_other_words_stand_at_a_transfer_for_both_and_nothing_else_is_changed(service, made):
    ann, ben, before = made
    status, answer, _ = await say(service, ann, "PUT", before["id"], description="dinner", metadata={"b": 2})
    now = answer["data"]
    assert (status, now["description"], now["metadata"]) == (200, "dinner", {"b": 2})
    assert now["annotated_seq"] > before["seq"]
    assert {**now, "description": "lunch", "metadata": {"table": 4}}.items() >= before.items()
    for user in (ann, ben):
        _, answer, _ = await service.call("GET", f"{PATH}/{before['id']}", user=user)
        assert answer["data"] == now
        _, answer, _ = await service.call("GET", PATH, user=user)
        assert answer["data"][0] == now


async def test_put_empties_what_it_leaves_out_and_patch_leaves_it(service, made):
    ann, _, before = made
    _, answer, _ = await say(service, ann, "PATCH", before["id"], description="dinner")
    assert (answer["data"]["description"], answer["data"]["metadata"]) == ("dinner", {"table": 4})
    _, answer, _ = await say(service, ann, "PATCH", before["id"], metadata={})
    assert (answer["data"]["description"], answer["data"]["metadata"]) == ("dinner", {})
    _, answer, _ = await say(service, ann, "PUT", before["id"], metadata={"c": 3})
    assert (answer["data"]["description"], answer["data"]["metadata"]) == ("", {"c": 3})


async def test_a_key_makes_one_event_of_the_log(service, made):
    ann, _, before = made
    key = {"Idempotency-Key": "words"}
    seqs = set()
    for _ in range(3):
        _, answer, _ = await say(service, ann, "PUT", before["id"], key, description="once")
        seqs.add(answer["data"]["annotated_seq"])
    assert len(seqs) == 1
    status, answer, headers = await say(service, ann, "PUT", before["id"], key, description="twice")
    assert status == 409
    assert_problem(answer, headers, 409, "conflict")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_says_which_words_it_replaces_and_replaces_no_others(service, made, method):
    ann, _, before = made
    path = f"{PATH}/{before['id']}"
    _, _, headers = await service.call("GET", path, user=ann)
    first = headers["ETag"]
    status, answer, headers = await service.call(method, path, user=ann, json={"transaction": {}})
    assert status == 428
    assert_problem(answer, headers, 428, "precondition_required")
    status, answer, headers = await say(service, ann, method, before["id"], {"If-Match": "odd"}, description="x")
    assert_problem(answer, headers, 400, "bad_request")
    key = {"If-Match": first, "Idempotency-Key": f"change by {method}"}
    status, told, headers = await say(service, ann, method, before["id"], key, description="one", metadata={})
    second = headers["ETag"]
    assert (status, second != first) == (200, True)
    status, answer, headers = await say(service, ann, method, before["id"], {"If-Match": first}, description="two")
    assert status == 412
    assert_problem(answer, headers, 412, "precondition_failed")
    status, answer, _ = await say(service, ann, method, before["id"], key, description="one", metadata={})
    assert (status, answer) == (200, told), "a repeat is not conditional on what it did itself"
    either = {"If-Match": f'{first}, {second}, "x"'}
    status, answer, _ = await say(service, ann, method, before["id"], either, description="three")
    assert (status, answer["data"]["description"]) == (200, "three")


async def test_who_has_a_transfer_as_it_is_is_not_sent_it_again(service, made):
    ann, ben, _ = made
    _, answer, _ = await service.transfer(ann, ben, 1, fields={"kind": "pending"})
    path = f"{PATH}/{answer['data']['id']}"
    _, _, headers = await service.call("GET", path, user=ann)
    known = {"If-None-Match": headers["ETag"]}
    status, body, headers = await service.call("GET", path, user=ann, headers=known)
    assert (status, body, headers["ETag"]) == (304, None, known["If-None-Match"])
    await service.call("DELETE", path, user=ann)
    status, body, _ = await service.call("GET", path, user=ann, headers=known)
    assert (status, body["data"]["status"]) == (200, "voided")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_only_who_paid_and_an_admin_say_something_else(service, made, method):
    _, ben, before = made
    eve, admin = await service.register(), await service.admin()
    for user, expected, code in ((ben, 403, "forbidden"), (eve, 404, "not_found")):
        status, answer, headers = await say(service, user, method, before["id"], description="x")
        assert status == expected
        assert_problem(answer, headers, expected, code)
    assert (await say(service, admin, method, before["id"], description="x"))[0] == 200
    for unknown in ("x", str(uuid.uuid4())):
        status, answer, headers = await say(service, admin, method, unknown, description="x")
        assert status == 404
        assert_problem(answer, headers, 404, "not_found")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 5),
        ("code", 1),
        ("description", "x" * 501),
        ("description", "\x00"),
        ("metadata", {"k": "x" * 5_000}),
        ("metadata", []),
    ],
)
async def test_nothing_but_words_can_be_changed(service, made, field, value):
    ann, _, before = made
    status, answer, _ = await say(service, ann, "PATCH", before["id"], **{field: value})
    assert (status, list(answer["errors"])) == (422, [field])
