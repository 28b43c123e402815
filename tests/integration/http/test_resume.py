"""Who comes back to a topic gets what it missed, once and in order, or is told that it does not."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import pytest

from bitnexus.http.channels.feed import MAX_RECOVERED
from tests.integration.ledger_harness import running
from tests.running import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/socket/websocket"


class Channel:
    """One socket with one channel."""

    def __init__(self, ws, topic):
        self.ws, self.topic = ws, topic
        self.reply: dict[str, Any] = {}
        self._refs = 1

    async def push(self, event, payload):
        self._refs += 1
        ref = str(self._refs)
        await self.ws.send_str(json.dumps(["1", ref, self.topic, event, payload]))
        return ref

    async def join(self, payload):
        await self.ws.send_str(json.dumps(["1", "1", self.topic, "phx_join", payload]))
        _, _, _, event, answer = await self.receive()
        assert event == "phx_reply", event
        self.reply = answer
        return answer["response"].get("resume", {})

    async def receive(self):
        return json.loads(await self.ws.receive_str(timeout=10))

    async def answer(self, ref):
        """The reply to a push; what comes before it is passed over."""
        while True:
            frame = await self.receive()
            if frame[1] == ref and frame[3] == "phx_reply":
                return frame[4]["status"], frame[4]["response"]

    async def events(self, count):
        """So many events: name and payload."""
        return [tuple((await self.receive())[3:]) for _ in range(count)]


@asynccontextmanager
async def channel(service, user, topic=None) -> AsyncIterator[Channel]:
    async with service.session.ws_connect(f"{PATH}?vsn=2.0.0&token={user.token}") as ws:
        yield Channel(ws, topic or f"transaction:{user.id}")


async def two(service, funds=10_000):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, funds)
    return ann, ben


def numbers(events):
    return [payload["_meta"]["seq"] for _, payload in events]


async def test_who_begins_is_told_where_and_who_resumes_gets_what_it_missed_before_anything_new(service):
    ann, ben = await two(service)
    async with channel(service, ann) as first:
        began = await first.join({"resume": {}})
        assert began == {"epoch": began["epoch"], "seq": 1, "recovered": False, "count": 0, "reason": "new"}
        _, answer, _ = await service.transfer(ann, ben, 1)
        ((name, payload),) = await first.events(1)
        meta = payload.pop("_meta")
        assert (name, payload) == ("new_transaction", answer["data"])
        assert meta == {"epoch": began["epoch"], "seq": 2, "ts": answer["data"]["inserted_at"]}
    for amount in range(2, 8):
        await service.transfer(ann, ben, amount)
    for _ in range(2):  # out of the database, and, while another reads, out of what is kept
        async with channel(service, ann) as again, channel(service, ann) as other:
            for each in (again, other):
                resumed = await each.join({"resume": {"epoch": began["epoch"], "seq": 2}})
                assert resumed == {"epoch": began["epoch"], "seq": 8, "recovered": True, "count": 6}
                missed = await each.events(6)
                assert numbers(missed) == list(range(3, 9))
                assert [payload["amount"] for _, payload in missed] == list(range(2, 8))
                assert all(payload["_meta"]["replayed"] for _, payload in missed)
    async with channel(service, ann) as last:
        resumed = await last.join({"resume": {"epoch": began["epoch"], "seq": 8}})
        assert (resumed["recovered"], resumed["count"]) == (True, 0)
        await service.transfer(ann, ben, 9)
        ((_, payload),) = await last.events(1)
        assert (payload["amount"], payload["_meta"]["seq"]) == (9, 9)
        assert "replayed" not in payload["_meta"]


async def test_what_cannot_be_recovered_whole_is_not_recovered_in_part(service):
    ann, ben = await two(service)
    async with channel(service, ann) as one:
        began = await one.join({"resume": {}})
    transfers = [
        {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 1}
        for _ in range(MAX_RECOVERED)
    ]
    status, answer, _ = await service.call(
        "POST", "/api/v1/transactions/batch", user=ann, json={"transactions": transfers}
    )
    assert status in {200, 201}, answer
    head = MAX_RECOVERED + 1
    for place, reason in [
        ({"epoch": began["epoch"], "seq": 0}, "too_many"),
        ({"epoch": "0" * 16, "seq": 1}, "epoch"),
        ({"epoch": began["epoch"], "seq": 10_000}, "ahead"),
    ]:
        async with channel(service, ann) as one:
            resumed = await one.join({"resume": place})
            told = {"epoch": began["epoch"], "seq": head, "recovered": False, "count": 0, "reason": reason}
            assert resumed == told
            await service.transfer(ann, ben, 1)
            head += 1
            assert numbers(await one.events(1)) == [head]
    async with channel(service, ann) as one:
        resumed = await one.join({"resume": {"epoch": began["epoch"], "seq": head - MAX_RECOVERED}})
        assert (resumed["recovered"], resumed["count"]) == (True, MAX_RECOVERED)
        assert numbers(await one.events(MAX_RECOVERED)) == list(range(head - MAX_RECOVERED + 1, head + 1))


@pytest.mark.parametrize(
    "payload",
    [
        {"resume": 1},
        {"resume": {"epoch": "x"}},
        {"resume": {"seq": 1}},
        {"resume": {"epoch": "x", "seq": -1}},
        {"resume": {"epoch": "x", "seq": True}},
        {"resume": {"epoch": "x" * 65, "seq": 1}},
        {"balances": 1},
    ],
)
async def test_a_join_that_is_not_understood_is_refused(service, payload):
    ann = await service.register()
    async with channel(service, ann) as one:
        await one.join(payload)
        assert (one.reply["status"], one.reply["response"]["reason"]) == ("error", "bad_join")


async def test_what_becomes_of_a_transfer_is_told_and_counts(service):
    ann, ben = await two(service)
    async with channel(service, ben) as one:
        began = await one.join({"resume": {}, "balances": True})
        _, pending, _ = await service.transfer(ann, ben, 10, fields={"kind": "pending"})
        fields = {"kind": "post_pending", "pending_id": pending["data"]["id"], "amount": 4}
        _, posted, _ = await service.call("POST", "/api/v1/transactions", user=ann, json={"transaction": fields})
        words = {"transaction": {"description": "rent"}}
        path = f"/api/v1/transactions/{posted['data']['id']}"
        status, answer, _ = await service.call("PATCH", path, user=ann, json=words, headers={"If-Match": "*"})
        assert status == 200, answer
        names = [await one.receive() for _ in range(6)]
        assert [(frame[3], frame[4].get("_meta", {}).get("seq")) for frame in names] == [
            ("new_transaction", 1),
            ("balance", None),
            ("new_transaction", 2),
            ("transaction_updated", 3),
            ("balance", None),
            ("transaction_updated", 4),
        ]
        payloads = [frame[4] for frame in names]
        assert (payloads[1]["balance"], payloads[4]["balance"], payloads[4]["account_id"]) == (0, 4, ben.account_id)
        updated = {"id": pending["data"]["id"], "status": "posted", "resolved_by": posted["data"]["id"]}
        assert payloads[3].items() >= updated.items()
        assert (payloads[5]["id"], payloads[5]["description"]) == (posted["data"]["id"], "rent")
    async with channel(service, ben) as one:
        resumed = await one.join({"resume": {"epoch": began["epoch"], "seq": 2}})
        assert resumed["count"] == 2
        missed = await one.events(2)
        assert [name for name, _ in missed] == ["transaction_updated"] * 2
        for (_, payload), live in zip(missed, (payloads[3], payloads[5]), strict=True):
            assert payload["_meta"].pop("replayed")
            assert payload == live


async def test_notifications_come_over_the_channel_and_over_rest_the_same(service):
    (ann, ben), admin = await two(service), await service.admin()
    topic = f"notification:{ben.id}"
    async with channel(service, ben, topic) as one:
        began = await one.join({"resume": {}})
        await service.transfer(ann, ben, 1)
        await service.transfer(ben, ann, 1)  # he knows
        await service.transfer(ann, ben, 1, fields={"kind": "pending", "timeout_s": 1})
        for action in ("freeze", "unfreeze"):
            path = f"/api/v1/accounts/{ben.account_id}/{action}"
            status, answer, _ = await service.call("POST", path, user=admin)
            assert status == 200, answer
        _, answer, _ = await service.transfer(ann, ben, 5)
        back = {"kind": "reversal", "reverses_id": answer["data"]["id"]}
        status, answer, _ = await service.call("POST", "/api/v1/transactions", user=admin, json={"transaction": back})
        assert status == 201, answer
        told = await one.events(7)
    assert sorted(name for name, _ in told) == [
        "account_frozen",
        "account_unfrozen",
        "money_received",
        "money_received",
        "payment_announced",
        "payment_expired",
        "payment_reversed",
    ]
    assert numbers(told) == list(range(1, 8))
    status, answer, _ = await service.call("GET", "/api/v1/notifications?after=0", user=ben)
    assert status == 200, answer
    assert answer["data"] == [payload for _, payload in told]
    assert [item["type"] for item in answer["data"]] == [name for name, _ in told]
    assert (answer["epoch"], answer["seq"], answer["oldest"], answer["read_up_to"]) == (began["epoch"], 7, 1, 0)
    _, page, headers = await service.call("GET", "/api/v1/notifications?after=2&limit=3", user=ben)
    assert page["data"] == answer["data"][2:5]
    assert page["page"] == {"next": 5, "has_more": True}
    assert "after=5" in headers["Link"]
    _, newest, _ = await service.call("GET", "/api/v1/notifications?limit=2", user=ben)
    assert newest["data"] == answer["data"][5:]
    assert newest["page"] == {"next": None, "has_more": False}
    _, others, _ = await service.call("GET", "/api/v1/notifications", user=ann)
    assert ben.account_id not in {item["account_id"] for item in others["data"]}


async def test_what_was_read_stays_read_over_rest_and_over_the_channel(service):
    ann, ben = await two(service)
    for _ in range(3):
        await service.transfer(ann, ben, 1)
    read = "/api/v1/notifications/read"
    for up_to, expected in [(2, (2, 1)), (1, (2, 1))]:
        body = {"notifications": {"read_up_to": up_to}}
        status, answer, _ = await service.call("POST", read, user=ben, json=body)
        assert (status, answer["data"]) == (200, dict(zip(("read_up_to", "unread"), expected, strict=True)))
    async with channel(service, ben, f"notification:{ben.id}") as one:
        await one.join({})
        ref = await one.push("read", {"read_up_to": 3})
        assert await one.answer(ref) == ("ok", {"data": {"read_up_to": 3, "unread": 0}})
        ref = await one.push("read", {"read_up_to": 4})
        status, response = await one.answer(ref)
        assert (status, response["reason"]) == ("error", "invalid_fields")
        assert list(response["errors"]) == ["read_up_to"]
    _, answer, _ = await service.call("GET", "/api/v1/notifications", user=ben)
    assert answer["read_up_to"] == 3


async def test_a_transfer_is_pushed_as_it_is_posted_and_refused_as_it_is_refused(service):
    ann, ben = await two(service, funds=100)
    fields: dict[str, Any] = {
        "debit_account_id": ann.account_id,
        "credit_account_id": ben.account_id,
        "amount": 30,
    }
    async with channel(service, ann) as one:
        await one.join({})
        ref = await one.push("new_transaction", {"transaction": fields, "idempotency_key": "lunch"})
        status, first = await one.answer(ref)
        assert (status, first["replayed"], first["data"]["amount"]) == ("ok", False, 30)
        ref = await one.push("new_transaction", {"transaction": fields, "idempotency_key": "lunch"})
        assert await one.answer(ref) == ("ok", {"data": first["data"], "replayed": True})
        http_status, posted, _ = await service.transfer(ann, ben, 30, headers={"Idempotency-Key": "lunch"})
        assert (http_status, posted["data"]) == (200, first["data"])
        pending = {"transaction": {**fields, "kind": "pending"}}
        status, held = await one.answer(await one.push("new_transaction", pending))
        assert (status, held["data"]["status"]) == ("ok", "pending")
        changes: list[tuple[dict[str, Any], str]] = [
            ({"amount": 1_000}, "exceeds_credits"),
            ({"amount": 0}, "invalid_fields"),
            ({"amount": 1.5}, "invalid_fields"),
            ({"debit_account_id": "world"}, "forbidden"),
            ({"debit_account_id": ben.account_id}, "not_found"),
            ({"unknown": 1}, "invalid_fields"),
        ]
        for changed, reason in changes:
            wrong = {**fields, **changed}
            status, response = await one.answer(await one.push("new_transaction", {"transaction": wrong}))
            http_status, problem, _ = await service.call(
                "POST", "/api/v1/transactions", user=ann, json={"transaction": wrong}
            )
            assert (status, response["reason"], problem["code"]) == ("error", reason, reason), http_status
            assert response.get("errors") == problem.get("errors")
        await one.ws.send_bytes(
            b"\x00\x01\x01" + bytes((len(one.topic), 15)) + f"19{one.topic}new_transaction".encode()
        )
        assert (await one.answer("9"))[1]["reason"] == "bad_request"


async def test_neither_anothers_topics_nor_an_operators_are_a_users_to_join(service):
    ann, ben, admin = await service.register(), await service.register(), await service.admin()
    for family in ("transaction", "notification"):
        resumes: list[dict[str, Any]] = [{}, {"resume": {}}, {"resume": {"epoch": "x", "seq": 0}}]
        for resume in resumes:
            async with channel(service, ann, f"{family}:{ben.id}") as one:
                await one.join(resume)
                assert one.reply == {"status": "error", "response": {"reason": "unauthorized"}}
        async with channel(service, admin, f"{family}:{ben.id}") as one:
            assert (await one.join({"resume": {}}))["reason"] == "new"
    for topic in ("admin:tree", "admin:metrics", "admin:log"):
        async with channel(service, ann, topic) as one:
            await one.join({})
            assert one.reply["status"] == "error"
            assert one.reply["response"]["reason"] in {"unauthorized", "unmatched topic"}


async def test_an_admin_does_not_read_for_another(service):
    ben, admin = await service.register(), await service.admin()
    async with channel(service, admin, f"notification:{ben.id}") as one:
        await one.join({})
        status, response = await one.answer(await one.push("read", {"read_up_to": 0}))
        assert (status, response["reason"]) == ("error", "forbidden")


async def test_a_token_that_is_revoked_ends_its_connections_at_every_front_within_five_seconds(service):
    ann = await service.register()
    body = {"user": {"email": ann.email, "password": "long enough"}}
    _, answer, _ = await service.call("POST", "/api/v1/auth/login", json=body)
    token = answer["data"]["access_token"]
    sockets = []
    for _ in range(6):  # both fronts have some
        ws = await service.session.ws_connect(f"{PATH}?vsn=2.0.0&token={token}")
        await Channel(ws, f"transaction:{ann.id}").join({"resume": {}})
        sockets.append(ws)
    other = await service.session.ws_connect(f"{PATH}?vsn=2.0.0&token={ann.token}")
    began = time.monotonic()
    status, answer, _ = await service.call("POST", "/api/v1/auth/logout", headers={"Authorization": f"Bearer {token}"})
    assert status in {200, 204}, answer
    messages = await asyncio.gather(*(ws.receive(timeout=10) for ws in sockets))
    assert time.monotonic() - began < 5
    assert {(message.type, message.data) for message in messages} == {(aiohttp.WSMsgType.CLOSE, 1008)}
    refused = 0
    while refused < 8:  # a front that had none of the sockets may take the token until it looks, and then ends it too
        assert time.monotonic() - began < 5
        try:
            late = await service.session.ws_connect(f"{PATH}?vsn=2.0.0&token={token}")
        except aiohttp.WSServerHandshakeError:
            refused += 1
        else:
            refused = 0
            message = await late.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert not other.closed
    await other.close()


async def test_numbers_are_counted_on_from_what_is_kept_and_as_well_without_it(service):
    ann, ben = await two(service, funds=100_000)
    for _ in range(3):
        transfers = [
            {"debit_account_id": ann.account_id, "credit_account_id": ben.account_id, "amount": 1} for _ in range(400)
        ]
        status, answer, _ = await service.call(
            "POST", "/api/v1/transactions/batch", user=ann, json={"transactions": transfers}
        )
        assert status in {200, 201}, answer
    database = await asyncpg.connect(service.environment["DATABASE_URL"])
    seen = []
    for forget in (False, False, True):
        if forget:
            assert await database.execute("DELETE FROM topic_counts WHERE user_id = $1", ann.id) == "DELETE 1"
        async with channel(service, ann) as one:
            seen.append((await one.join({"resume": {}}))["seq"])
        kept = await database.fetchval("SELECT events FROM topic_counts WHERE user_id = $1", ann.id)
        assert kept == (1_203 if forget else 1_201)
        await service.transfer(ann, ben, 1)
    await database.close()
    assert seen == [1_201, 1_202, 1_203]


async def test_what_another_nodes_ledger_commits_is_told_here_as_well(service):
    ann = await service.register()
    async with channel(service, ann) as one:
        seq = (await one.join({"resume": {}}))["seq"]
        async with running(service.environment["DATABASE_URL"]) as elsewhere:
            for amount in (1, 2, 3):
                await elsewhere.fund(ann.account_id, amount)
        told = await one.events(3)
    assert [(payload["amount"], payload["_meta"]["seq"]) for _, payload in told] == [
        (amount, seq + amount) for amount in (1, 2, 3)
    ]
    await service.fund(ann, 1)  # this node's ledger finds that it is behind, and starts anew


async def test_the_example_prints_every_event_once_though_its_front_is_killed(service):
    ann, ben = await two(service)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "listen.py"), ann.token, "--url", f"http://127.0.0.1:{service.port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    amounts: list[int] = []
    try:
        async with asyncio.timeout(30):
            assert b"load it anew (new), then go on after 1" in await process.stdout.readline()
            await service.transfer(ann, ben, 2)
            while len(amounts) < 3:
                event, _, payload = (await process.stdout.readline()).partition(b" ")
                if event == b"new_transaction":
                    amounts.append(json.loads(payload)["amount"])
                    if amounts == [2]:
                        await service.kill("http-0", "http-1")
                        await service.reconnect()
                        for amount in (3, 4):
                            await service.transfer(ann, ben, amount)
    finally:
        process.kill()
        await process.wait()
    assert amounts == [2, 3, 4]
