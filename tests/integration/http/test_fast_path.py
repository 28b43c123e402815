"""Plain transfers take a short way through the front: nobody can tell, whatever else happens on the connection."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from bitnexus.http.presentation import COMPRESSED_FROM_BYTES
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/transactions"
ANSWER_TIMEOUT_S = 15
#: A field that makes a request take the usual way, and changes nothing else.
USUAL_WAY = {"Origin": "https://elsewhere.example.com"}


class Raw:
    """A connection on which requests are written as they stand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, service: Service) -> Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", service.port))

    async def answer(self) -> tuple[int, dict[str, str], dict]:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
            fields = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(fields.get("Content-Length", 0)))
        return int(status_line.split(" ")[1]), fields, json.loads(body or b"null")

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], dict]:
        self.writer.write(request)
        return await self.answer()

    def close(self) -> None:
        self.writer.close()


def request(payer, payee, amount, *, key=None, path=PATH, more=None, **fields) -> bytes:
    transaction = {"debit_account_id": payer.account_id, "credit_account_id": payee.account_id, "amount": amount}
    body = json.dumps({"transaction": transaction | fields}).encode()
    headers = {
        "Host": "localhost",
        "Authorization": f"Bearer {payer.token}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **({"Idempotency-Key": key} if key else {}),
        **(more or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def reading(user, more=None, path="/api/v1/users/me", method="GET") -> bytes:
    headers = {"Host": "localhost", "Authorization": f"Bearer {user.token}", **(more or {})}
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 100_000)
    return ann, ben


@pytest_asyncio.fixture(loop_scope="session")
async def raw(service):
    connection = await Raw.to(service)
    yield connection
    connection.close()


async def total(service, name: str, **labels: str) -> float:
    async with service.session.get("/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and sample.labels.items() >= labels.items()
        )


async def fast_requests(service) -> float:
    return await total(service, "bitnexus_http_fast_path_total")


async def balance(service, user) -> int:
    _, answer, _ = await service.call("GET", f"/api/v1/accounts/{user.account_id}", user=user)
    return answer["data"]["balance"]


async def test_plain_transfers_take_the_fast_path_and_others_do_not(service, pair, raw):
    ann, ben = pair
    await raw.ask(request(ann, ben, 1))  # the first of a connection may come before it waits for one
    before = await fast_requests(service)
    for _ in range(5):
        assert (await raw.ask(request(ann, ben, 1)))[0] == 201
    assert await fast_requests(service) == before + 5
    assert (await raw.ask(request(ann, ben, 1, more=USUAL_WAY)))[0] == 201
    assert (await raw.ask(request(ann, ben, 1, kind="pending")))[0] == 201
    assert await fast_requests(service) == before + 5


@pytest.mark.parametrize(
    ("amount", "fields", "status"),
    [
        (10, {}, 201),
        (10, {"description": "lunch", "metadata": {"a": 1}, "code": 3}, 201),
        (10_000_000, {}, 422),
        (0, {}, 422),
        (10, {"asset": "EUR/2"}, 422),
        (10, {"credit_account_id": str(uuid.UUID(int=7))}, 422),
        (10, {"unknown": 1}, 422),
        (10, {"debit_account_id": str(uuid.UUID(int=7))}, 404),
    ],
)
async def test_both_ways_answer_alike(pair, raw, amount, fields, status):
    ann, ben = pair
    for key in (uuid.uuid4().hex, uuid.uuid4().hex):
        answers = [
            await raw.ask(request(ann, ben, amount, key=key, more=more, **fields)) for more in ({}, {}, USUAL_WAY, {})
        ]
        first, again, usual, third = answers
        assert first[0] == status
        assert again[0] == usual[0] == third[0] == (200 if status == 201 else status)
        assert set(again[1]) | {"Vary"} == set(usual[1]) | {"Vary"}
        volatile = {"X-Request-Id", "Date", "Content-Length", "Vary"}
        for name in set(again[1]) - volatile:
            assert again[1][name] == usual[1][name]
        for body in (answer[2] for answer in answers):
            body.pop("request_id", None)
        assert again[2] == usual[2] == third[2]
        if status == 201:
            assert first[2] == again[2]
            assert first[1]["Location"] == f"{PATH}/{first[2]['data']['id']}"
            assert again[1]["Idempotent-Replayed"] == "true"


async def test_who_reads_oneself_again_takes_the_fast_path_and_is_told_the_same(service, pair, raw):
    before, taken = await fast_requests(service), 0.0
    async with asyncio.timeout(10):
        while not taken:  # on a busy machine, half a second may pass between two of them
            first, again, usual, third = [await raw.ask(reading(pair[0], more)) for more in ({}, {}, USUAL_WAY, {})]
            taken = await fast_requests(service) - before
    assert first[0] == again[0] == usual[0] == third[0] == 200
    assert first[2] == again[2] == usual[2] == third[2]
    assert set(again[1]) | {"Vary"} == set(usual[1]) | {"Vary"}
    assert again[1]["ETag"] == usual[1]["ETag"] == third[1]["ETag"]
    assert again[1]["Content-Type"] == usual[1]["Content-Type"]


async def both_ways(service, raw, user, path) -> tuple[int, dict, dict]:
    """What is read by the fast path, which was taken, and said the same as the usual one."""
    before = await fast_requests(service)
    fast = await raw.ask(reading(user, path=path))
    assert await fast_requests(service) == before + 1, path
    usual = await raw.ask(reading(user, USUAL_WAY, path=path))
    assert await fast_requests(service) == before + 1, path
    assert fast[0] == usual[0], path
    for name in fast[1].keys() | usual[1].keys():
        # A problem has the request's id in it.
        if name not in {"X-Request-Id", "Date"}:
            assert fast[1].get(name) == usual[1].get(name), (path, name)
    for _, fields, body in (fast, usual):
        assert body.pop("request_id", fields["X-Request-Id"]) == fields["X-Request-Id"]
        body.pop("as_of_seq", None)  # other tests' events may come between
    assert fast[2] == usual[2], path
    return fast


async def test_reads_by_id_take_the_fast_path_and_say_the_same(service, pair, raw):
    ann, ben = pair
    eve = await service.register()
    one = f"/api/v1/accounts/{ann.account_id}/history"
    await raw.ask(reading(ann))  # the first of a connection may come before it waits for one
    assert (await both_ways(service, raw, ann, one))[1].get("Vary") is None
    made = [(await raw.ask(request(ann, ben, amount)))[2]["data"]["id"] for amount in range(1, 21)]
    _, _, pending = await raw.ask(request(ann, ben, 50, kind="pending"))
    await raw.ask(request(ann, ben, 30, kind="post_pending", pending_id=pending["data"]["id"]))
    for user in (ann, ben, await service.admin()):
        status, fields, answer = await both_ways(service, raw, user, f"{PATH}/{made[3]}")
        assert (status, answer["data"]["amount"], "ETag" in fields) == (200, 4, True)
    _, _, answer = await both_ways(service, raw, ben, f"{PATH}/{pending['data']['id']}")
    assert answer["data"]["status"] == "posted"
    for user, path in (
        (eve, f"{PATH}/{made[3]}"),
        (ann, f"{PATH}/{uuid.uuid4()}"),
        (ben, one),
        (ann, f"/api/v1/accounts/{uuid.uuid4()}/history?limit=3"),
    ):
        status, _, answer = await both_ways(service, raw, user, path)
        assert (status, answer["code"], answer["instance"]) == (404, "not_found", path.partition("?")[0])
    seen, path = [], f"{one}?limit=9"
    while path:
        status, fields, answer = await both_ways(service, raw, ann, path)
        assert status == 200
        assert (fields.get("Vary") is not None) == (int(fields["Content-Length"]) >= COMPRESSED_FROM_BYTES)
        seen += answer["data"]
        path = fields["Link"].partition(">")[0][1:] if "Link" in fields else ""
    assert [entry["amount"] for entry in seen] == [30, 50, *range(20, 0, -1), 100_000]
    assert [entry["balance"] for entry in seen][:3] == [99_760, 99_790, 99_790]


async def test_reads_out_of_the_ordinary_take_the_usual_way(service, pair, raw):
    ann, ben = pair
    _, _, answer = await raw.ask(request(ann, ben, 1))
    one = f"{PATH}/{answer['data']['id']}"
    history = f"/api/v1/accounts/{ann.account_id}/history"
    _, fields, _ = await raw.ask(reading(ann, path=one))
    before = await fast_requests(service)
    for given, path, status in (
        (reading(ann, {"If-None-Match": fields["ETag"]}, one), one, 304),
        (reading(ann, {"If-None-Match": '"0"'}, one), one, 200),
        (reading(ann, {"If-None-Match": "x"}, one), one, 400),
        (reading(ann, {"Authorization": "Bearer x"}, one), one, 401),
        (reading(ann, path=one.upper().replace("/API/V1/TRANSACTIONS", PATH)), one, 404),
        (reading(ann, path=f"{PATH}/x"), PATH, 404),
        (reading(ann, path=f"{one}/proof"), one, 200),
        (reading(ann, path=f"{history}?limit=0"), history, 422),
        (reading(ann, path=f"{history}?limit=1&limit=1"), history, 422),
        (reading(ann, path=f"{history}?cursor=x"), history, 400),
        (reading(ann, {"Accept-Encoding": "gzip"}, history), history, 200),
        (reading(ann, path=one, method="OPTIONS"), one, 405),
    ):
        found, fields, body = await raw.ask(given)
        assert found == status, path
        if status == 304:
            assert (body, fields["ETag"] != "") == (None, True)
    assert await fast_requests(service) == before


async def test_what_was_acknowledged_is_in_every_read_that_comes_after_it(service, pair):
    ann, ben = pair
    history = f"/api/v1/accounts/{ann.account_id}/history?limit=1"

    async def pay_and_read(client: Raw) -> None:
        last = -1
        for _ in range(15):
            _, _, paid = await client.ask(request(ann, ben, 1))
            status, _, shown = await client.ask(reading(ann, path=f"{PATH}/{paid['data']['id']}"))
            assert (status, shown["data"]) == (200, paid["data"])
            _, _, page = await client.ask(reading(ann, path=history))
            assert page["as_of_seq"] >= page["data"][0]["seq"] >= paid["data"]["seq"]
            assert page["as_of_seq"] >= last
            last = page["as_of_seq"]

    clients = [await Raw.to(service) for _ in range(16)]
    try:
        await asyncio.gather(*map(pay_and_read, clients))
    finally:
        for client in clients:
            client.close()


async def test_the_request_id_of_the_client_comes_back(pair, raw):
    ann, ben = pair
    await raw.ask(request(ann, ben, 1))
    _, fields, _ = await raw.ask(request(ann, ben, 1, more={"X-Request-Id": "order-17"}))
    assert fields["X-Request-Id"] == "order-17"
    _, fields, _ = await raw.ask(request(ann, ben, 1, more={"X-Request-Id": "a\tb"}))
    assert "\t" not in fields["X-Request-Id"]


async def test_pipelined_requests_are_answered_in_their_order(pair, raw):
    ann, ben = pair
    await raw.ask(request(ann, ben, 1))
    raw.writer.write(b"".join(request(ann, ben, 100 + number) for number in range(8)))
    assert [(await raw.answer())[2]["data"]["amount"] for _ in range(8)] == [100 + number for number in range(8)]


async def test_what_comes_while_a_transfer_is_under_way_is_answered_after_it(service, pair, raw):
    ann, ben = pair
    await raw.ask(request(ann, ben, 1))
    ledger = (await service.pids())["ledger"]
    os.kill(ledger, signal.SIGSTOP)
    try:
        raw.writer.write(request(ann, ben, 11))
        await raw.writer.drain()
        await asyncio.sleep(0.05)  # so that it is read alone: there is nothing to wait for
        for amount in (12, 13):
            raw.writer.write(request(ann, ben, amount))
        raw.writer.write(
            b"GET /api/v1/users/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n" % ann.token.encode()
        )
        await raw.writer.drain()
        await asyncio.sleep(0.05)
    finally:
        os.kill(ledger, signal.SIGCONT)
    assert [(await raw.answer())[2]["data"]["amount"] for _ in range(3)] == [11, 12, 13]
    assert (await raw.answer())[2]["data"]["id"] == ann.id


async def test_a_request_that_comes_in_pieces_is_served(pair, raw):
    ann, ben = pair
    await raw.ask(request(ann, ben, 1))
    whole = request(ann, ben, 21)
    for piece in (whole[:30], whole[30:-20], whole[-20:]):
        raw.writer.write(piece)
        await raw.writer.drain()
        await asyncio.sleep(0.02)  # pieces, not one: there is nothing to wait for
    assert (await raw.answer())[2]["data"]["amount"] == 21


async def test_a_client_that_leaves_at_once_has_its_transfer_done_and_the_front_goes_on(service, pair, raw):
    ann, ben = pair
    had = await balance(service, ben)
    for _ in range(10):
        leaving = await Raw.to(service)
        await leaving.ask(request(ann, ben, 1))
        leaving.writer.write(request(ann, ben, 1))
        await leaving.writer.drain()
        leaving.writer.transport.abort()
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        # An abort may overtake what was written before it: then that was never sent.
        while not had + 10 <= await balance(service, ben) <= had + 20:
            await asyncio.sleep(0.02)
    assert (await raw.ask(request(ann, ben, 1)))[0] == 201


async def test_requests_over_the_limit_are_refused_and_counted_once(fresh_database_url, tmp_path):
    limited = await Service.start(
        fresh_database_url,
        tmp_path,
        BITNEXUS_FRONTS="1",
        BITNEXUS_RATE_LIMITS="true",
        BITNEXUS_RATE_LIMIT_USER="1",
        BITNEXUS_REGISTER_LIMIT_ADDRESS="0",
    )
    try:
        ann, ben, cid, dan = [await limited.register() for _ in range(4)]
        await limited.fund(ann, 1_000)
        raw = await Raw.to(limited)
        looks = [await raw.ask(reading(cid)) for _ in range(12)]
        empty = f"/api/v1/accounts/{dan.account_id}/history"
        reads = [await raw.ask(reading(dan, path=empty)) for _ in range(12)]
        assert [status for status, _, _ in reads] == [200] * 10 + [429] * 2
        assert "RateLimit" not in reads[0][1]
        assert reads[9][1]["RateLimit"].startswith('"user";r=0;')
        assert [status for status, _, _ in looks] == [200] * 10 + [429] * 2
        assert "RateLimit" not in looks[0][1]
        assert looks[9][1]["RateLimit"].startswith('"user";r=0;')
        answers = [await raw.ask(request(ann, ben, 1)) for _ in range(12)]
        raw.close()
        assert [status for status, _, _ in answers] == [201] * 10 + [429] * 2
        assert answers[-1][1]["Retry-After"]
        assert "RateLimit" not in answers[0][1]
        assert answers[9][1]["RateLimit"].startswith('"user";r=0;')
        assert await balance(limited, ben) == 10
        counted = {"method": "GET", "route": "/api/v1/accounts/{id}/history"}
        assert await total(limited, "bitnexus_http_requests_total", **counted, status="200") == 10
        assert await total(limited, "bitnexus_http_requests_total", **counted, status="429") == 2
    finally:
        assert await limited.stop() == 0


async def test_a_transfer_under_way_is_answered_when_the_service_stops(fresh_database_url, tmp_path):
    stopping = await Service.start(fresh_database_url, tmp_path, BITNEXUS_FRONTS="1")
    try:
        ann, ben = await stopping.register(), await stopping.register()
        await stopping.fund(ann, 1_000)
        raw = await Raw.to(stopping)
        await raw.ask(request(ann, ben, 1))
        ledger = (await stopping.pids())["ledger"]
        os.kill(ledger, signal.SIGSTOP)
        raw.writer.write(request(ann, ben, 5))
        await raw.writer.drain()
        await asyncio.sleep(0.05)  # until it is under way: there is nothing to wait for
        stopping.running.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        os.kill(ledger, signal.SIGCONT)
        status, fields, body = await raw.answer()
        assert (status, body["data"]["amount"]) == (201, 5)
        assert fields["Connection"] == "close"
        assert await raw.reader.read() == b""
        raw.close()
    finally:
        assert await stopping.stop() == 0
