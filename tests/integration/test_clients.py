"""Clients of a whole node: what their tokens let them do, and what becomes of their calls when the node restarts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

import bitnexus
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.messages import (
    AccountOpened,
    BlockCommitted,
    GetHead,
    GetMetrics,
    GetNames,
    Head,
    Message,
    Metrics,
    OpenAccount,
    PostTransfer,
    Subscribe,
    TransferResult,
)
from bitnexus.actors.runtime import wire
from bitnexus.actors.runtime.connection import Connection
from bitnexus.actors.runtime.frames import Kind, encode
from bitnexus.actors.runtime.message import (
    Heartbeat,
    NamesChanged,
    ProcessExiting,
    ProcessInfo,
    ProcessStarted,
    Register,
    StopProcess,
)
from bitnexus.client import Client, TlsFiles
from bitnexus.config import authority
from bitnexus.errors import BitNexusError, Forbidden, Moved, NoProcess, NotFound, ProcessDown, Unauthorized
from bitnexus.tokens import AccessTokens
from tests.service import ASSET, Service

ROOT = Path(__file__).parents[2]
SECRET = "test-" * 16
WORLD = world_account_id(ASSET)
PATIENCE_S = 15.0

Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("BITNEXUS_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=["plain", "tls"])
def tls(request, tmp_path: Path) -> tuple[dict[str, str], TlsFiles | None]:
    """The node's settings, and the files of a client."""
    if request.param == "plain":
        return {}, None
    node = authority.issue(tmp_path / "tls", "node", hosts=["127.0.0.1"], days=1, as_node=True).files
    wallet = authority.issue(tmp_path / "tls", "wallet", hosts=[], days=1, as_node=False).files
    settings = {
        "BITNEXUS_NODE_TLS_CERT": str(node.cert),
        "BITNEXUS_NODE_TLS_KEY": str(node.key),
        "BITNEXUS_NODE_TLS_CA": str(node.ca),
    }
    return settings, wallet


@pytest.fixture
async def service(fresh_database_url: str, tmp_path: Path, tls: Any) -> AsyncIterator[Service]:
    running = await Service.start(fresh_database_url, tmp_path, **tls[0], BITNEXUS_FRONTS="1")
    yield running
    await running.stop()


@pytest.fixture
def connect(service: Service, tls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    monkeypatch.setenv("BITNEXUS_DATA_DIR", str(tmp_path / "var"))

    def make(address: str | None = None, **options: Any) -> Client:
        return bitnexus.connect(address, **{"tls": tls[1], "timeout_s": PATIENCE_S, **options})

    return make


def token(user_id: str, role: str, *, ttl_s: int = 600) -> str:
    return AccessTokens(SECRET, ttl_s).issue(user_id, role)


def new_id() -> str:
    return str(uuid.uuid4())


async def opened(client: Client, owner: str) -> str:
    account = new_id()
    name = await client.partition_of(owner)
    answer = await client.call(name, OpenAccount(account, owner, ASSET), retry=True)
    assert isinstance(answer, AccountOpened)
    return account


async def test_a_service_posts_what_it_may_and_nothing_in_anothers_name(service: Service, connect: Connect) -> None:
    me, user = new_id(), new_id()
    async with connect(token=token(me, "service")) as node:
        account = await opened(node, user)
        result = await node.transfer(debit=WORLD, credit=account, amount=2500, asset=ASSET)
        assert result.transfer is not None
        assert (result.transfer.user_id, result.transfer.amount) == (me, 2500)
        with pytest.raises(NotFound):  # it is the user's, not the service's
            await node.transfer(debit=account, credit=WORLD, amount=1, asset=ASSET)
        forged = PostTransfer(user, "user", new_id(), account, WORLD, 1, ASSET)
        with pytest.raises(Forbidden):
            await node.call(await node.partition_of(user), forged)
        forged = PostTransfer(me, "admin", new_id(), WORLD, account, 1, ASSET)
        with pytest.raises(Forbidden):
            await node.call(await node.partition_of(me), forged)
        own = PostTransfer(me, "service", new_id(), account, WORLD, 1, ASSET)
        with pytest.raises(Forbidden):  # past the user's actor, which knows whose account it is
            await node.call("ledger", own)
        mine = await node.partition_of(me)
        wrong = next(name for name in ("transactions-0", "transactions-1") if name != mine)
        with pytest.raises(Moved):
            await node.call(wrong, own)
        assert isinstance(await node.call("ledger", GetMetrics()), Metrics)


async def test_a_users_token_moves_the_users_own_money_alone(service: Service, connect: Connect) -> None:
    user, other = new_id(), new_id()
    async with connect(token=token(new_id(), "service")) as bank, connect(token=token(user, "user")) as node:
        mine, others = await opened(bank, user), await opened(bank, other)
        await bank.transfer(debit=WORLD, credit=mine, amount=100, asset=ASSET)
        paid = await node.transfer(debit=mine, credit=others, amount=40, asset=ASSET)
        assert paid.transfer is not None
        assert paid.transfer.debit_balance == 60
        for debit in (WORLD, others):
            with pytest.raises(NotFound):
                await node.transfer(debit=debit, credit=mine, amount=1, asset=ASSET)
        for refused in (
            OpenAccount(new_id(), other, ASSET),
            PostTransfer(other, "user", new_id(), others, mine, 1, ASSET),
        ):
            with pytest.raises(Forbidden):
                await node.call(await node.partition_of(other), refused)
        with pytest.raises(Forbidden):
            await node.call("ledger", GetMetrics())


async def test_without_a_token_a_client_reads_what_is_public_and_nothing_more(
    service: Service, connect: Connect
) -> None:
    info = ProcessInfo("ledger", "bitnexus/ledger", "127.0.0.1:1", "00", 1)
    internal: list[tuple[str, Message]] = [
        ("ledger", GetMetrics()),
        ("ledger", StopProcess("")),
        ("bitnexus", StopProcess("")),
        ("bitnexus", Register(info)),
        ("bitnexus", Heartbeat("ledger", 1, 0.0, 0)),
        ("bitnexus", ProcessStarted("ledger", 1, "00")),
        ("bitnexus", ProcessExiting("ledger", 1, ["normal"])),
        ("bitnexus", NamesChanged([info], [])),
        ("notifier", Subscribe("http-0", ["transaction:x"])),
        ("notifier", BlockCommitted(1, 0, 1, [], {})),
        ("transactions-0", OpenAccount(new_id(), new_id(), ASSET)),
        ("transactions-0", PostTransfer("", "", new_id(), WORLD, new_id(), 1, ASSET)),
        ("transactions-0", PostTransfer(new_id(), "admin", new_id(), WORLD, new_id(), 1, ASSET)),
    ]
    async with connect() as node:
        assert isinstance(await node.call("ledger", GetHead()), Head)
        assert {"bitnexus", "ledger", "transactions-1"} <= set(node.names())
        for name, message in internal:
            with pytest.raises(Forbidden):
                await node.call(name, message)
        with pytest.raises(Unauthorized):
            await node.transfer(debit=WORLD, credit=new_id(), amount=1, asset=ASSET)
        with pytest.raises(NoProcess):
            await node.call("nobody", GetHead())
    assert (await service.call("GET", "/health"))[0] == 200


async def test_a_client_that_breaks_the_rules_of_the_wire_is_cut_off_and_nothing_is_unpickled(
    service: Service, connect: Connect, tmp_path: Path
) -> None:
    async def cut_by(send: Callable[[Connection], None]) -> None:
        async with connect() as node:
            await node.call("ledger", GetHead())
            info = node._node.whereis("ledger")
            assert info is not None
            connection = node._peers.connection_to(info.address)
            assert connection.is_established
            send(connection)
            async with asyncio.timeout(PATIENCE_S):
                while not connection.is_closed:
                    await asyncio.sleep(0.01)

    marker = tmp_path / "unpickled"
    harmful = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    await cut_by(lambda connection: connection.write(encode(Kind.ENVELOPE, len(harmful).to_bytes(2, "big") + harmful)))
    await cut_by(lambda connection: connection.post(wire.encode_cast("", StopProcess(""))))
    await cut_by(lambda connection: connection.post(wire.encode_cast("", NamesChanged([], []))))
    await cut_by(lambda connection: connection.write(encode(Kind.HELLO, b"again")))
    await cut_by(lambda connection: connection.write(b"\x7f" * 64))
    assert not marker.exists()
    assert (await service.call("GET", "/health"))[0] == 200


async def test_answers_that_nobody_asked_for_deceive_nobody(service: Service, connect: Connect) -> None:
    # A client answers calls of the partition that the ledger was asked, under every number they may have.
    me = new_id()
    async with connect(token=token(me, "service")) as node:
        account = await opened(node, me)
        name = await node.partition_of(me)
        info = node._node.whereis(name)
        assert info is not None
        connection = node._peers.connection_to(info.address)
        forged = TransferResult(new_id(), None, "exceeds_credits")
        work = asyncio.ensure_future(node.transfer(debit=WORLD, credit=account, amount=5, asset=ASSET))
        for ref in range(1, 500):
            connection.post(wire.encode_reply(ref, forged))
            connection.post(wire.encode_failure(ref, "not_found", "forged"))
            if ref % 50 == 0:
                await asyncio.sleep(0)
        result = await work
        assert result.transfer is not None
        assert result.transfer.amount == 5


async def test_an_expired_token_is_refused_and_ends_the_connections_it_opened(
    service: Service, connect: Connect
) -> None:
    me = new_id()
    with pytest.raises(Unauthorized, match="expired"):
        await connect(token=token(me, "service", ttl_s=-1)).__aenter__()
    async with connect(token=token(me, "service", ttl_s=3)) as node:
        assert isinstance(await node.call("ledger", GetHead()), Head)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await node.call("ledger", GetHead(), retry=True)
                    await asyncio.sleep(0.05)
                except Unauthorized:
                    break
        assert not node.is_joined
    forged = AccessTokens("another secret" * 5, 60).issue(me, "admin")
    with pytest.raises(Unauthorized, match="not valid"):
        await connect(token=forged).__aenter__()
    with pytest.raises(Unauthorized, match="no access token"):
        await connect(token="word").__aenter__()


async def test_a_client_that_gets_fresh_tokens_outlives_each_of_them(service: Service, connect: Connect) -> None:
    me, given = new_id(), []

    def fresh() -> str:
        given.append(time.monotonic())
        return token(me, "service", ttl_s=2)

    async with connect(token=fresh) as node:
        began = time.monotonic()
        while time.monotonic() - began < 5:
            assert isinstance(await node.call("ledger", GetHead(), retry=True), Head)
            await asyncio.sleep(0.05)
    assert len(given) >= 2


async def test_a_wrong_cookie_and_an_absent_node_are_said_so(service: Service, connect: Connect) -> None:
    with pytest.raises(NoProcess, match="may not know this cookie"):
        await connect(cookie="certainly another one", connect_timeout_s=1).__aenter__()
    with pytest.raises(NoProcess, match="cannot connect"):
        await connect("127.0.0.1:1", connect_timeout_s=1).__aenter__()


async def test_calls_that_may_be_repeated_survive_a_restart_of_the_node(
    service: Service, connect: Connect, fresh_database_url: str, tmp_path: Path, tls: Any
) -> None:
    me = new_id()
    async with connect(token=token(me, "service"), timeout_s=30) as node:
        account = await opened(node, me)
        sent = [new_id() for _ in range(40)]

        async def pay(number: int) -> TransferResult:
            await asyncio.sleep(number * 0.1)
            return await node.transfer(
                debit=WORLD, credit=account, amount=1, asset=ASSET, transfer_id=sent[number], timeout_s=30
            )

        payments = [asyncio.ensure_future(pay(number)) for number in range(len(sent))]
        await asyncio.sleep(0.5)
        assert await service.stop() == 0
        with pytest.raises((NoProcess, ProcessDown)):
            await node.call("ledger", GetHead())
        again = await Service.start(fresh_database_url, tmp_path, **tls[0], BITNEXUS_FRONTS="1")
        try:
            results = await asyncio.gather(*payments)
        finally:
            await again.stop()
        assert [result.transfer_id for result in results] == sent
        assert all(result.transfer is not None for result in results)
        last = max(result.transfer.credit_balance for result in results if result.transfer)
        assert last == len(sent)


async def test_where_the_node_is_stands_in_a_file_while_it_runs(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "var" / "node.json"
    found = json.loads(file.read_text())
    assert found["pid"] == (await service.pids())["bitnexus"]
    await service.stop()
    assert not file.exists()


async def test_the_synchronous_client_and_the_example_do_the_same(
    service: Service, connect: Connect, tls: Any, tmp_path: Path
) -> None:
    me = new_id()
    account = ""
    async with connect(token=token(me, "service")) as node:
        account = await opened(node, me)

    def work() -> None:
        with bitnexus.connect_sync(token=token(me, "service"), tls=tls[1]) as node:
            assert isinstance(node.call("ledger", GetHead()), Head)
            result = node.transfer(debit=WORLD, credit=account, amount=7, asset=ASSET)
            assert result.transfer is not None
            with pytest.raises(BitNexusError):
                node.call("nobody", GetNames())

    async def on_another_loop() -> None:
        async with connect(token=token(me, "service")) as node:
            assert isinstance(await node.call("ledger", GetHead()), Head)

    def work_on_uvloop() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(on_another_loop())

    await asyncio.to_thread(work)
    await asyncio.to_thread(work_on_uvloop)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "BITNEXUS_DATA_DIR": str(tmp_path / "var"),
        "BITNEXUS_TOKEN": token(me, "service"),
    }
    if tls[1] is not None:
        files = {"CERT": tls[1].cert, "KEY": tls[1].key, "CA": tls[1].ca}
        environment |= {f"BITNEXUS_NODE_TLS_{name}": str(path) for name, path in files.items()}
    command = [sys.executable, str(ROOT / "examples" / "internal_service.py"), account, "1250"]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "paid 12.50 USD" in done.stdout
    assert "balance 12.57 USD" in done.stdout


async def test_a_fixed_port_is_where_clients_come_in(fresh_database_url: str, tmp_path: Path, unused_tcp_port) -> None:
    running = await Service.start(
        fresh_database_url, tmp_path, BITNEXUS_NODE_PORT=str(unused_tcp_port), BITNEXUS_FRONTS="1"
    )
    try:
        cookie = (tmp_path / "var" / "cookie").read_text().strip()
        async with bitnexus.connect(f"127.0.0.1:{unused_tcp_port}", cookie=cookie) as node:
            assert isinstance(await node.call("ledger", GetHead()), Head)
            os.kill((await running.pids())["ledger"], signal.SIGKILL)
            assert isinstance(await node.call("ledger", GetHead(), timeout_s=PATIENCE_S, retry=True), Head)
    finally:
        await running.stop()
