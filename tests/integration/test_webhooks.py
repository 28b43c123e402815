"""Webhooks of a whole service, to receivers of this process: every event arrives, signed, in order, whatever dies."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import subprocess
import sys
import time
import uuid

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web

from bitnexus.tokens import AccessTokens
from tests.service import Service, User

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/api/v1/webhooks"
PATIENCE_S = 20
ATTEMPTS = 2


class Receiver:
    """Records what comes; answers by `answer`, which may be a function of the message."""

    def __init__(self):
        self.got = []
        self.paths = []
        self.answer = 200
        self.changed = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    async def _handle(self, request):
        body = await request.read()
        await self.gate.wait()
        message = json.loads(body) if body else {}
        status = self.answer(message) if callable(self.answer) else self.answer
        self.paths.append(request.path)
        self.got.append((request.headers.copy(), body, message, status))
        self.changed.set()
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {})

    def delivered(self):
        """The positions that were taken, in the order in which they came."""
        return [message["seq"] for _, _, message, status in self.got if status == 200]

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def stop(self):
        await self._runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def receiver():
    made = []

    async def make():
        made.append(await Receiver().start())
        return made[-1]

    yield make
    for each in made:
        each.gate.set()
        await each.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(database_url, tmp_path_factory):
    running = await Service.start(
        database_url, tmp_path_factory.mktemp("webhooks"), BITNEXUS_FRONTS="1", BITNEXUS_WEBHOOK_ATTEMPTS=str(ATTEMPTS)
    )
    yield running
    assert await running.stop() == 0


async def webhook(service, admin, url, **fields):
    status, answer, headers = await service.call("POST", PATH, user=admin, json={"webhook": {"url": url, **fields}})
    assert status == 201, answer
    return answer["data"], headers["ETag"]


async def shown(service, admin, hook):
    status, answer, headers = await service.call("GET", f"{PATH}/{hook['id']}", user=admin)
    assert status == 200
    return answer["data"], headers["ETag"]


async def until_shown(service, admin, hook, condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition((await shown(service, admin, hook))[0]):
            await asyncio.sleep(0.05)


async def audited(service, endpoint_id):
    """What the operators' audit has of an endpoint, the oldest first."""
    connection = await asyncpg.connect(service.environment["DATABASE_URL"])
    try:
        return await connection.fetch(
            "SELECT * FROM operator_commands WHERE path = $1 ORDER BY begun_us", f"webhooks/{endpoint_id}"
        )
    finally:
        await connection.close()


async def remove(service, admin, hook):
    status, _, _ = await service.call("DELETE", f"{PATH}/{hook['id']}", user=admin, headers={"If-Match": "*"})
    assert status == 204


async def payers(service):
    ann, ben = await service.register(), await service.register()
    await service.fund(ann, 10_000)
    return ann, ben


async def seqs_of(service, ann, ben, count):
    """So many transfers; their positions."""
    found = []
    for amount in range(1, count + 1):
        status, answer, _ = await service.transfer(ann, ben, amount)
        assert status == 201
        found.append(answer["data"]["seq"])
    return found


def signed_by(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return expected in headers["webhook-signature"].split(" ")


async def a_service(service):
    """An account of a program."""
    id_ = str(uuid.uuid4())
    connection = await asyncpg.connect(service.environment["DATABASE_URL"])
    try:
        await connection.execute(
            "INSERT INTO users (id, email, name, password_hash, role) VALUES ($1, $2, 'x', '!', 'service')",
            id_,
            f"{id_}@example.com",
        )
    finally:
        await connection.close()
    tokens = AccessTokens(service.environment["SECRET_KEY_BASE"], 900)
    return User(id_, "", "", tokens.issue(id_, "service"))


def command(service, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "bitnexus", "webhooks", *arguments],
        env={**service.environment, "NO_COLOR": "1"},
        cwd=service.running.directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


async def test_every_event_arrives_signed_and_in_order_also_when_the_process_is_killed(service, receiver):
    admin, (ann, ben), to = await service.admin(), await payers(service), await receiver()
    hook, _ = await webhook(service, admin, to.url, events=["transaction.created"])
    before = await seqs_of(service, ann, ben, 10)
    await to.until(lambda: len(to.delivered()) >= 5)
    await service.kill("webhooks")
    after = await seqs_of(service, ann, ben, 10)
    await to.until(lambda: set(to.delivered()) >= set(before + after))
    # At least once: what was not saved comes again, behind which everything else does.
    once = list(dict.fromkeys(to.delivered()))
    assert once == before + after
    for headers, body, message, _ in to.got:
        assert signed_by(hook["secret"], headers, body)
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
        assert headers["webhook-id"] == f"evt_{message['seq']}"
        assert message["type"] == "transaction.created"
    _, answer, _ = await service.call("GET", f"/api/v1/transactions/{to.got[0][2]['data']['id']}", user=ann)
    assert to.got[0][2]["data"] == answer["data"]
    await remove(service, admin, hook)


async def test_one_that_is_down_holds_up_no_other_and_gets_all_when_it_is_back(service, receiver):
    admin, (ann, ben) = await service.admin(), await payers(service)
    up, down, hanging = await receiver(), await receiver(), await receiver()
    down.answer = 503
    hanging.gate.clear()
    hooks = [(await webhook(service, admin, to.url, events=["transaction.created"]))[0] for to in (up, down, hanging)]
    seqs = await seqs_of(service, ann, ben, 5)
    await up.until(lambda: up.delivered() == seqs)
    await down.until(lambda: len(down.got) >= 2)
    assert down.delivered() == []
    await until_shown(service, admin, hooks[1], lambda hook: hook["unavailable_since"] and hook["attempts"] >= 1)
    down.answer = 200
    hanging.gate.set()
    for to in (down, hanging):
        await to.until(lambda to=to: list(dict.fromkeys(to.delivered())) == seqs)
    await until_shown(service, admin, hooks[1], lambda hook: hook["attempts"] == 0 and not hook["unavailable_since"])
    for hook in hooks:
        await remove(service, admin, hook)


async def test_an_event_that_is_refused_is_a_dead_letter_the_next_ones_arrive_and_an_operator_replays_it(
    service, receiver
):
    admin, (ann, ben), to = await service.admin(), await payers(service), await receiver()
    hook, _ = await webhook(service, admin, to.url, events=["transaction.created"])
    to.answer = lambda message: 500 if message["data"]["amount"] == 2 else 200
    first, poison, last = await seqs_of(service, ann, ben, 3)
    await to.until(lambda: to.delivered() == [first, last])
    assert sum(message["seq"] == poison for _, _, message, _ in to.got) == ATTEMPTS
    _, answer, _ = await service.call("GET", f"{PATH}/{hook['id']}/dead_letters", user=admin)
    (letter,) = answer["data"]
    assert (letter["seq"], letter["error"], letter["attempts"]) == (poison, "answered 500", ATTEMPTS)
    assert str(poison) in await asyncio.to_thread(command, service, "dead", "--endpoint", hook["id"])
    to.answer = 200
    await asyncio.to_thread(command, service, "replay", hook["id"], str(poison))
    await to.until(lambda: to.delivered() == [first, last, poison])
    await until_shown(service, admin, hook, lambda hook: hook["dead_letters"] == 0)
    assert hook["id"] in await asyncio.to_thread(command, service, "list")
    path = f"{PATH}/{hook['id']}"
    assert (await service.call("POST", f"{path}/replays", user=admin, json={"replay": {"seqs": [poison]}}))[0] == 202
    stale = {"headers": {"If-Match": '"0-0-0-0"'}, "json": {"webhook": {"url": "http://127.0.0.1:9/?key=hidden"}}}
    assert (await service.call("PATCH", path, user=admin, **stale))[0] == 412
    await remove(service, admin, hook)
    await asyncio.to_thread(command, service, "disable", hook["id"], code=1)  # it is gone
    rows = await audited(service, hook["id"])
    assert [(row["entrance"], row["verb"], row["outcome"]) for row in rows] == [
        ("http", "create", "done"),
        ("cli", "replay", "done"),
        ("http", "replay", "nothing"),
        ("http", "update", "refused"),
        ("http", "delete", "done"),
        ("cli", "disable", "refused"),
    ]
    by_command = rows[1]
    assert (json.loads(by_command["arguments"]), by_command["detail"]) == ({"seqs": [poison]}, "1 dead letters")
    assert "@" in by_command["operator_name"]
    assert all(row["address"] and row["finished_us"] for row in rows)
    assert str(rows[0]["operator_id"]) == admin.id
    assert "hidden" not in repr(rows)


async def test_a_receiver_that_is_gone_is_disabled_and_goes_on_from_there_when_it_is_enabled(service, receiver):
    admin, (ann, ben), to = await service.admin(), await payers(service), await receiver()
    hook, _ = await webhook(service, admin, to.url, events=["transaction.created"])
    to.answer = 410
    seqs = await seqs_of(service, ann, ben, 2)
    await until_shown(service, admin, hook, lambda hook: not hook["is_active"])
    _, tag = await shown(service, admin, hook)
    to.answer = 200
    status, answer, _ = await service.call(
        "PATCH", f"{PATH}/{hook['id']}", user=admin, json={"webhook": {"is_active": True}}, headers={"If-Match": tag}
    )
    assert (status, answer["data"]["disabled_because"]) == (200, None)
    await to.until(lambda: to.delivered() == seqs)
    await remove(service, admin, hook)


async def test_redirects_are_not_followed(service, receiver):
    admin, (ann, ben), to = await service.admin(), await payers(service), await receiver()
    to.answer = 302
    hook, _ = await webhook(service, admin, to.url, events=["transaction.created"])
    (seq,) = await seqs_of(service, ann, ben, 1)
    await until_shown(service, admin, hook, lambda hook: hook["dead_letters"] == 1)
    assert [(headers["webhook-id"], path) for (headers, *_), path in zip(to.got, to.paths, strict=True)] == [
        (f"evt_{seq}", "/hook")
    ] * ATTEMPTS
    await remove(service, admin, hook)


async def test_after_a_rotation_messages_are_signed_by_both_secrets(service, receiver):
    admin, (ann, ben), to = await service.admin(), await payers(service), await receiver()
    hook, _ = await webhook(service, admin, to.url)
    status, answer, _ = await service.call("POST", f"{PATH}/{hook['id']}/rotate", user=admin, json={})
    assert status == 200
    await seqs_of(service, ann, ben, 1)
    await to.until(lambda: to.got)
    headers, body, _, _ = to.got[-1]
    assert hook["secret"] != answer["data"]["secret"]
    assert signed_by(hook["secret"], headers, body)
    assert signed_by(answer["data"]["secret"], headers, body)
    assert "secret" not in (await shown(service, admin, hook))[0]
    await remove(service, admin, hook)


async def test_webhooks_are_for_services_each_its_own_and_for_admins(service):
    admin, user = await service.admin(), await service.register()
    one, two = [await a_service(service) for _ in range(2)]
    hook, _ = await webhook(service, one, "http://127.0.0.1:9/")
    for stranger, expected in ((user, 403), (two, 404)):
        assert (await service.call("GET", f"{PATH}/{hook['id']}", user=stranger))[0] == expected
    assert (await service.call("GET", PATH, user=two))[1]["data"] == []
    assert [each["id"] for each in (await service.call("GET", PATH, user=one))[1]["data"]] == [hook["id"]]
    assert hook["id"] in [each["id"] for each in (await service.call("GET", PATH, user=admin))[1]["data"]]
    wrong = {"webhook": {"url": "ftp://example.com/"}}
    assert (await service.call("POST", PATH, user=one, json=wrong))[0] == 422
    unconditional = await service.call("DELETE", f"{PATH}/{hook['id']}", user=one)
    assert unconditional[0] == 428
    await remove(service, one, hook)
    assert await audited(service, hook["id"]) == []  # no operator was there
