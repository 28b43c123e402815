"""The client of the API against the real service, and against one that dies at bad moments."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from bitnexus.http import client as http_client
from bitnexus.http.client import Client, Tokens
from tests.running import ROOT, free_port

PASSWORD = "long enough"

pytestmark = pytest.mark.asyncio(loop_scope="session")


def address(service):
    return f"http://127.0.0.1:{service.port}"


@pytest_asyncio.fixture(loop_scope="session")
async def ann(service):
    async with Client(address(service)) as api:
        email = f"{uuid.uuid4().hex}@example.com"
        await api.auth.register(email, PASSWORD, name="Ann")
        await api.auth.login(email, PASSWORD)
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def admin(service):
    user = await service.admin()
    async with Client(address(service), tokens=user.token) as api:
        yield api


async def account_of(api):
    return await anext(aiter(api.accounts.list()))


async def funded(admin, api, amount=10_000):
    account = await account_of(api)
    await admin.transactions.post(debit=http_client.WORLD, credit=account.id, amount=amount)
    return account


async def test_a_user_registers_logs_in_changes_and_is_deleted_by_an_admin(service, admin):
    kept: list[Tokens | None] = []
    async with Client(address(service), on_tokens=kept.append) as api:
        email = f"{uuid.uuid4().hex}@example.com"
        user = await api.auth.register(email, PASSWORD, name="Ann")
        session = await api.auth.login(email, PASSWORD)
        assert (session.user.id, kept) == (user.id, [Tokens(session.access_token, session.refresh_token)])
        me = await api.users.me()
        changed = await api.users.update(me.id, etag=me.etag, name="Anna")
        assert (changed.name, changed.etag != me.etag) == ("Anna", True)
        with pytest.raises(http_client.PreconditionFailed):
            await api.users.update(me.id, etag=me.etag, name="Anne")
        with pytest.raises(http_client.Conflict):
            await api.auth.register(email, PASSWORD)
        with pytest.raises(http_client.InvalidFields) as invalid:
            await api.auth.register("no address", "short")
        assert set(invalid.value.problem.errors) == {"email", "password"}
        await api.auth.refresh()
        await api.auth.logout()
        assert (api.tokens, kept[-1]) == (None, None)
        with pytest.raises(http_client.Unauthenticated):
            await api.users.me()
        with pytest.raises(http_client.Unauthenticated) as wrong:
            await api.auth.login(email, "another password")
        assert wrong.value.problem.code == "invalid_credentials"
        await api.auth.login(email, PASSWORD)
        with pytest.raises(http_client.Forbidden):
            await api.users.delete(user.id)
    await admin.users.delete(user.id)
    assert "bnr_" not in repr(kept) + repr(session)


async def test_transfers_of_every_kind(service, ann, admin):
    mine = await funded(admin, ann)
    yours = await ann.accounts.open(key="second")
    assert (await ann.accounts.open(key="second")).id == yours.id
    first, again = [
        await ann.transactions.post(debit=mine.id, credit=yours.id, amount=2500, key="lunch", description="lunch")
        for _ in range(2)
    ]
    assert (first.id, first.replayed, again.replayed) == (again.id, False, True)
    annotated = await ann.transactions.annotate(first.id, etag=first.etag or "*", metadata={"table": 7})
    assert (annotated.description, annotated.metadata) == ("lunch", {"table": 7})
    pending = await ann.transactions.reserve(debit=mine.id, credit=yours.id, amount=1000, timeout_s=3600)
    posted = await ann.transactions.post_pending(pending.id, amount=400)
    assert (pending.status, posted.amount, posted.pending_id) == ("pending", 400, pending.id)
    other = await ann.transactions.reserve(debit=mine.id, credit=yours.id, amount=1000)
    await ann.transactions.void(other.id)
    assert (await ann.transactions.get(other.id)).status == "voided"
    await admin.transactions.reverse(first.id)
    assert (await ann.transactions.get(first.id)).status == "reversed"
    with pytest.raises(http_client.Refused) as refused:
        await ann.transactions.post(debit=mine.id, credit=yours.id, amount=10**9)
    assert refused.value.problem.code == "exceeds_credits"
    with pytest.raises(http_client.Forbidden):
        await ann.transactions.reverse(posted.id)
    with pytest.raises(http_client.NotFound):
        await ann.transactions.get(str(uuid.uuid4()))
    now = await ann.accounts.get(mine.id)
    before = await ann.accounts.get(mine.id, at=first.seq)
    assert (now.balance, before.balance, before.as_of_seq) == (9600, 7500, first.seq)
    proof = await ann.transactions.proof(first.id)
    assert proof.index == first.seq


async def test_a_list_is_one_iterator_over_all_its_pages(ann, admin):
    mine = await funded(admin, ann)
    yours = await ann.accounts.open()
    lines = [{"debit_account_id": mine.id, "credit_account_id": yours.id, "amount": n} for n in range(1, 12)]
    batch = await ann.transactions.batch(lines, key="lines")
    assert (batch.accepted, batch.refused, [each.index for each in batch.results]) == (11, 0, list(range(11)))
    assert (await ann.transactions.batch(lines, key="lines")).replayed == 11
    history = ann.accounts.history(yours.id, limit=3)
    amounts = [entry.amount async for entry in history]
    assert amounts == list(range(11, 0, -1))
    pages = [page async for page in history.pages()]
    assert [len(page.items) for page in pages] == [3, 3, 3, 2]
    assert len({page.as_of_seq for page in pages}) == 1
    assert [entry.direction async for entry in ann.accounts.history(mine.id, limit=200)].count("debit") == 11
    assert len([each async for each in ann.transactions.list(account_id=yours.id)]) == 11
    with pytest.raises(http_client.Refused) as refused:
        await ann.transactions.batch([lines[0], {**lines[1], "amount": 10**9}], atomic=True)
    assert (refused.value.problem.index, len(refused.value.problem.results)) == (1, 2)


async def test_the_shop(ann, admin):
    mine = await funded(admin, ann)
    made = await admin.products.create(sku=uuid.uuid4().hex, name="Mug", price=1250)
    stocked = await admin.products.restock(made.id, 3)
    assert stocked.stock == 3
    bought, again = [await ann.products.buy(made.id, 2, account_id=mine.id, key="mugs") for _ in range(2)]
    assert (bought.amount, bought.replayed, again.id, again.replayed) == (2500, False, bought.id, True)
    with pytest.raises(http_client.Refused) as refused:
        await ann.products.buy(made.id, 2)
    assert refused.value.problem.code == "out_of_stock"
    seen = await ann.products.get(made.id)
    dearer = await admin.products.update(made.id, etag=seen.etag, price=1300)
    assert (seen.stock, dearer.price) == (1, 1300)
    assert made.id in [each.id async for each in ann.products.list()]
    await admin.products.delete(made.id)
    with pytest.raises(http_client.NotFound):
        await ann.products.get(made.id)


async def test_what_auditors_and_operators_read(service, ann, admin):
    await funded(admin, ann)
    assert (await ann.system.health()).healthy
    assert "bitnexus_up" in await ann.system.metrics()
    newest = await anext(aiter(admin.ledger.blocks(limit=1)))
    balance = await admin.ledger.trial_balance()
    assert balance.balanced
    assert balance.as_of_seq >= newest.tree_size - 1
    assert {"USD/2"} <= {each.asset for each in balance.assets}
    assert (await ann.ledger.key()).startswith("bitnexus.localhost/ledger+")
    size = int((await ann.ledger.checkpoint()).split("\n")[1])
    assert (await ann.ledger.consistency(1, size)).new == size
    assert len(await ann.ledger.tile(0, "000.p/1")) == 32
    user = await admin.users.create(f"{uuid.uuid4().hex}@example.com", PASSWORD, role="service")
    assert (await anext(aiter(admin.users.list(limit=1)))).id == user.id
    mine = await account_of(ann)
    assert (await admin.accounts.freeze(mine.id)).status == "frozen"
    assert (await admin.accounts.unfreeze(mine.id)).status == "open"


async def test_an_access_token_that_is_of_no_use_is_renewed_once_for_all_who_need_it(service, ann):
    session = await ann.auth.refresh()
    stale = Tokens("x" * 40, session.refresh_token)
    async with Client(address(service), tokens=stale) as api:
        found = await asyncio.gather(*(api.users.me() for _ in range(20)))
        assert {each.id for each in found} == {session.user.id}
        renewed = api.tokens
    assert renewed not in {None, stale}
    async with Client(address(service), tokens=Tokens("x" * 40, session.refresh_token)) as api:
        with pytest.raises(http_client.Unauthenticated):
            await api.users.me()


class Gate:
    """A server in front of the service, which loses answers, or refuses, as it is told."""

    def __init__(self, service):
        self._service = service
        self.port = free_port()
        self.script = []
        self.requests = 0

    async def start(self):
        self._session = aiohttp.ClientSession(address(self._service))
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self):
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request):
        self.requests += 1
        body = await request.read()
        what = self.script.pop(0) if self.script else "pass"
        if isinstance(what, int):
            problem = {"status": what, "code": "overloaded", "title": "Busy"}
            headers = {"Content-Type": "application/problem+json", "Retry-After": "1"}
            return web.Response(status=what, body=json.dumps(problem), headers=headers)
        headers = {name: value for name, value in request.headers.items() if name not in {"Host", "Content-Length"}}
        async with self._session.request(request.method, request.raw_path, data=body, headers=headers) as answer:
            content = await answer.read()
        if what == "lose":
            request.transport.abort()
        elif what == "hang":
            await asyncio.sleep(1)
        return web.Response(status=answer.status, body=content, headers={"Content-Type": "application/json"})


@contextlib.asynccontextmanager
async def gated(service, tokens, **options):
    gate = Gate(service)
    await gate.start()
    try:
        async with Client(f"http://127.0.0.1:{gate.port}", tokens=tokens, **options) as api:
            yield gate, api
    finally:
        await gate.stop()


@pytest.mark.parametrize("script", [["lose"], ["lose", "lose"], ["hang", "lose"], [429, "lose"]])
async def test_a_transfer_whose_answer_is_lost_is_made_once(service, ann, admin, script):
    mine = await funded(admin, ann, 100)
    yours = await ann.accounts.open()
    told: list[str] = []
    async with gated(service, ann.tokens, on_trouble=told.append, attempt_s=0.5) as (gate, api):
        gate.script = list(script)
        made = await api.transactions.post(debit=mine.id, credit=yours.id, amount=60)
        assert (made.status, gate.requests, len(told)) == ("posted", len(script) + 1, len(script))
    assert (await ann.accounts.get(yours.id)).balance == 60


async def test_what_the_service_asked_for_is_waited_for_and_nothing_beyond_the_deadline(service, ann):
    async with gated(service, ann.tokens, deadline_s=1.8) as (gate, api):
        gate.script = [503]
        started = time.monotonic()
        await api.users.me()
        assert time.monotonic() - started >= 1
        gate.script = [503] * 9
        started = time.monotonic()
        with pytest.raises(http_client.Unavailable) as caught:
            await api.users.me()
        assert gate.requests in {3, 4}  # 4, but on a machine that is slow
        assert caught.value.problem.retry_after_s == 1


async def test_what_the_service_would_not_know_again_is_sent_once(service, ann):
    me = await ann.users.me()
    async with gated(service, ann.tokens) as (gate, api):
        gate.script = ["lose"]
        with pytest.raises(http_client.NoAnswer):
            await api.users.update(me.id, etag=me.etag, name="Someone")
        assert gate.requests == 1
        gate.script = [503]
        with pytest.raises(http_client.Unavailable):
            await api.auth.register(f"{uuid.uuid4().hex}@example.com", PASSWORD)
        assert gate.requests == 2
        gate.script = [429]
        await api.users.update(me.id, name="Someone else")
        assert gate.requests == 4
        gate.script = ["lose"]
        with pytest.raises(http_client.NoAnswer):
            await api.users.delete(me.id)
        assert gate.requests == 5


async def test_nobody_listening_is_no_answer_within_the_deadline():
    async with Client(f"http://127.0.0.1:{free_port()}", deadline_s=0.3) as api:
        started = time.monotonic()
        with pytest.raises(http_client.NoAnswer):
            await api.system.health()
        assert time.monotonic() - started < 5


async def test_what_is_not_this_service_is_not_understood():
    async def say(request):
        return web.Response(text="<html>" if request.path == "/metrics" else "[]", content_type="text/html")

    runner = web.ServerRunner(web.Server(say))
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with Client(f"http://127.0.0.1:{port}", tokens="x") as api:
        for asked in (api.users.me(), api.system.health(), api.accounts.list().page()):
            with pytest.raises(http_client.NotUnderstood):
                await asked
    await runner.cleanup()


async def test_the_example_pays_once_however_often_it_is_started(service, ann, admin):
    mine = await funded(admin, ann)
    yours = await ann.accounts.open()
    email = (await ann.users.me()).email
    environment = {**os.environ, "BITNEXUS_URL": address(service), "BITNEXUS_PASSWORD": PASSWORD}
    told = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, ROOT / "examples" / "pay_over_http.py", email, yours.id, "2500", "--key", "lunch"),
            env=environment,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode == 0
        told.append(output.decode().partition(":")[0])
    assert told == ["paid", "paid before"]
    assert (await ann.accounts.get(mine.id)).balance == 7500
