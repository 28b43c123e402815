"""Blocks, trial balances, and what an account had at a moment of the past."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime
from hashlib import sha256
from itertools import pairwise

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEDGER = "/api/v1/ledger"


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 1_000)
    return ann, ben


async def pages(service, path: str, user, limit: int, between=None) -> list[dict]:
    """All pages' bodies; `between` is done after each."""
    mark = "&" if "?" in path else "?"
    query, found = f"{mark}limit={limit}", []
    while query:
        status, answer, headers = await service.call("GET", path + query, user=user)
        assert status == 200, answer
        assert len(answer["data"]) <= limit
        found.append(answer)
        following = answer["page"]["next"]
        assert answer["page"]["has_more"] == (following is not None) == ("Link" in headers)
        query = f"{mark}limit={limit}&cursor={following}" if following else ""
        if between is not None:
            await between()
    return found


async def test_all_pages_of_a_history_are_as_of_one_event_however_it_grows(service, pair):
    ann, ben = pair
    for amount in range(1, 6):
        await service.transfer(ann, ben, amount)
    path = f"/api/v1/accounts/{ann.account_id}/history"
    found = await pages(service, path, ann, 2, between=lambda: service.transfer(ann, ben, 10))
    assert len({answer["as_of_seq"] for answer in found}) == 1
    entries = [entry for answer in found for entry in answer["data"]]
    assert [entry["amount"] for entry in entries] == [5, 4, 3, 2, 1, 1_000]
    assert all(entry["seq"] <= found[0]["as_of_seq"] for entry in entries)
    _, later, _ = await service.call("GET", path, user=ann)
    missed = [entry for entry in later["data"] if entry["seq"] > found[0]["as_of_seq"]]
    assert [entry["amount"] for entry in missed] == [10] * len(found), "nothing between the two lists is lost"


async def test_no_page_under_load_shows_what_came_after_its_moment(service, pair):
    ann, ben = pair

    async def load():
        for _ in range(60):
            await service.transfer(ann, ben, 1)

    loading = asyncio.gather(load(), load())
    path = f"/api/v1/accounts/{ann.account_id}"
    while not loading.done():
        _, answer, _ = await service.call("GET", f"{path}/history?limit=5", user=ann)
        newest = answer["data"][0]
        assert newest["seq"] <= answer["as_of_seq"]
        _, then, _ = await service.call("GET", f"{path}?at={answer['as_of_seq']}", user=ann)
        assert (then["data"]["balance"], then["as_of_seq"]) == (newest["balance"], answer["as_of_seq"])
    await loading


async def test_a_balance_at_each_event_and_time_is_that_of_the_history(service, pair):
    ann, ben = pair
    for amount in range(1, 5):
        await service.transfer(ann, ben, amount)
    path = f"/api/v1/accounts/{ann.account_id}"
    _, history, _ = await service.call("GET", f"{path}/history", user=ann)
    _, now, _ = await service.call("GET", path, user=ann)
    for entry in history["data"]:
        status, answer, _ = await service.call("GET", path, user=ann, params={"at": str(entry["seq"])})
        assert (status, answer["data"]["balance"], answer["as_of_seq"]) == (200, entry["balance"], entry["seq"])
        status, answer, _ = await service.call("GET", path, user=ann, params={"at": entry["inserted_at"]})
        assert (status, answer["data"]["balance"]) == (200, entry["balance"])
        assert answer["as_of_seq"] >= entry["seq"]
        assert answer["data"]["id"] == ann.account_id
        assert "debits_posted" not in answer["data"], "not known of the past"
    before_any = now["data"]["opened_seq"]
    _, answer, _ = await service.call("GET", f"{path}?at={before_any}", user=ann)
    assert answer["data"]["balance"] == 0
    _, answer, _ = await service.call("GET", f"{path}?at=2999-01-01T00:00:00%2B02:00", user=ann)
    assert answer["data"]["balance"] == now["data"]["balance"]
    unescaped, _, _ = await service.call("GET", f"{path}?at=2999-01-01T00:00:00+02:00", user=ann)
    assert unescaped == 200


async def test_a_moment_that_never_was_or_before_the_account_is_refused(service, pair):
    ann, ben = pair
    path = f"/api/v1/accounts/{ann.account_id}"
    _, now, _ = await service.call("GET", path, user=ann)
    for at, expected in (
        (str(now["data"]["opened_seq"] - 1), 404),
        ("2020-01-01T00:00:00Z", 404),
        (str(2**63 - 1), 422),
        ("2025-02-30T00:00:00Z", 422),
        ("yesterday", 422),
        ("-1", 422),
        ("", 422),
    ):
        status, answer, _ = await service.call("GET", path, user=ann, params={"at": at})
        assert status == expected, at
        if status == 422:
            assert list(answer["errors"]) == ["at"]
    status, _, _ = await service.call("GET", f"{path}?at=5", user=ben)
    assert status == 404, "another user's account"


async def test_the_pages_of_the_blocks_are_one_chain_to_the_first(service, pair):
    ann, ben = pair
    admin = await service.admin()
    found = await pages(service, f"{LEDGER}/blocks", admin, 7, between=lambda: service.transfer(ann, ben, 1))
    assert len({answer["as_of_seq"] for answer in found}) == 1
    blocks = [block for answer in found for block in answer["data"]]
    assert [block["height"] for block in blocks] == list(range(blocks[0]["height"], 0, -1))
    assert blocks[0]["tree_size"] - 1 == found[0]["as_of_seq"]
    assert blocks[-1]["prev_hash"] == "00" * 32
    assert blocks[-1]["first_seq"] == 0
    for block, before in pairwise(blocks):
        assert block["prev_hash"] == before["hash"]
        assert block["first_seq"] == before["tree_size"] < block["tree_size"]
        assert block["inserted_at"] > before["inserted_at"]


async def test_a_block_s_hash_is_recomputed_from_what_is_shown(service, pair):
    _, answer, _ = await service.call("GET", f"{LEDGER}/blocks?limit=1", user=await service.admin())
    (block,) = answer["data"]
    time_us = round(datetime.fromisoformat(block["inserted_at"]).timestamp() * 1_000_000)
    hashed = (
        block["height"].to_bytes(8, "big")
        + bytes.fromhex(block["prev_hash"])
        + block["tree_size"].to_bytes(8, "big")
        + bytes.fromhex(block["tree_root"])
        + time_us.to_bytes(8, "big")
    )
    assert sha256(hashed).hexdigest() == block["hash"]


async def test_the_trial_balance_is_zero_and_of_one_moment(service, pair):
    ann, ben = pair
    admin = await service.admin()
    _, first, _ = await service.call("GET", f"{LEDGER}/trial-balance", user=admin)
    assert first["balanced"] is True
    usd = next(line for line in first["data"] if line["asset"] == "USD/2")
    assert (usd["difference"], usd["difference_pending"]) == (0, 0)
    assert usd["debits_posted"] == usd["credits_posted"] > 0
    await service.transfer(ann, ben, 77)
    _, later, _ = await service.call("GET", f"{LEDGER}/trial-balance", user=admin)
    now = next(line for line in later["data"] if line["asset"] == "USD/2")
    assert now["debits_posted"] == usd["debits_posted"] + 77
    assert later["as_of_seq"] > first["as_of_seq"]
    _, again, _ = await service.call("GET", f"{LEDGER}/trial-balance?at={first['as_of_seq']}", user=admin)
    assert again == first
    status, none, _ = await service.call("GET", f"{LEDGER}/trial-balance?at=2020-01-01T00:00:00Z", user=admin)
    assert (status, none["data"], none["as_of_seq"], none["balanced"]) == (200, [], -1, True)
    status, _, _ = await service.call("GET", f"{LEDGER}/trial-balance?at={2**62}", user=admin)
    assert status == 422


async def test_the_pages_of_the_trial_balance_are_of_one_moment_while_money_moves(service, pair):
    ann, ben = pair
    admin = await service.admin()
    for _ in range(3):
        sku = f"PAGE-{uuid.uuid4().hex[:8]}"
        body = {"product": {"sku": sku, "name": "x", "price": 1}}
        status, _, _ = await service.call("POST", "/api/v1/products", user=admin, json=body)
        assert status == 201
    path = f"{LEDGER}/trial-balance"
    found = await pages(service, path, admin, 2, between=lambda: service.transfer(ann, ben, 1))
    (as_of_seq,) = {answer["as_of_seq"] for answer in found}
    lines = [line for answer in found for line in answer["data"]]
    assert [line["asset"] for line in lines] == sorted({line["asset"] for line in lines})
    whole = await pages(service, f"{path}?at={as_of_seq}", admin, 200)
    assert lines == [line for answer in whole for line in answer["data"]]
    assert all(answer["balanced"] for answer in found)
    _, answer, _ = await service.call("GET", f"{path}?limit=1&at={as_of_seq}", user=admin)
    cursor = answer["page"]["next"]
    status, answer, _ = await service.call("GET", f"{path}?limit=1&at={as_of_seq - 1}&cursor={cursor}", user=admin)
    assert (status, answer["code"]) == (400, "bad_cursor"), "a cursor is bound to its moment"


async def test_the_books_are_the_admin_s_alone(service, pair):
    for path in (f"{LEDGER}/blocks", f"{LEDGER}/trial-balance"):
        status, _, _ = await service.call("GET", path, user=pair[0])
        assert status == 403
        status, _, _ = await service.call("GET", path)
        assert status == 401


async def test_a_cursor_of_blocks_or_of_another_moment_serves_nowhere_else(service, pair):
    ann, _ = pair
    admin = await service.admin()
    _, answer, _ = await service.call("GET", f"{LEDGER}/blocks?limit=1", user=admin)
    cursor = answer["page"]["next"]
    for path in (f"{LEDGER}/trial-balance?cursor=", f"/api/v1/accounts/{ann.account_id}/history?cursor="):
        status, answer, _ = await service.call("GET", path + cursor, user=admin)
        assert (status, answer["code"]) == (400, "bad_cursor")


async def test_the_list_of_accounts_comes_in_pages(service, pair):
    admin = await service.admin()
    await service.call("GET", "/api/v1/accounts", user=admin)
    found = await pages(service, "/api/v1/accounts", admin, 1)
    accounts = [account for answer in found for account in answer["data"]]
    ids = [account["id"] for account in accounts]
    assert len(ids) == len(set(ids)) >= 2
    assert admin.account_id in ids, "the world's"
    opened = [account["opened_seq"] for account in accounts]
    assert opened == sorted(opened)
    status, answer, _ = await service.call("GET", f"/api/v1/accounts?cursor={uuid.uuid4()}", user=admin)
    assert (status, answer["code"]) == (400, "bad_cursor")
