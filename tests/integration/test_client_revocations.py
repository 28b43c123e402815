"""Clients of a node whose access token is revoked: no process takes them, however they come in."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import bitnexus
from bitnexus.actors.ledger.accounts import world_account_id
from bitnexus.actors.runtime.peers import Peers
from bitnexus.client import Client
from bitnexus.errors import Unauthorized
from bitnexus.tokens import AccessTokens
from tests.service import ASSET, Service

SECRET = "test-" * 16
WORLD = world_account_id(ASSET)
#: Promised: 5 s; seen on a quiet machine: 1 s.
REVOKED_WITHIN_S = 5.0

Connect = Callable[[str], Client]


@pytest.fixture
async def service(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    running = await Service.start(fresh_database_url, tmp_path, BITNEXUS_FRONTS="1")
    yield running
    await running.stop()


@pytest.fixture
def connect(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    monkeypatch.setenv("BITNEXUS_DATA_DIR", str(tmp_path / "var"))
    return lambda token: bitnexus.connect(token=token, timeout_s=15)


async def test_a_token_that_was_revoked_is_refused_and_its_client_cut_off_by_every_process(
    service: Service, connect: Connect
) -> None:
    gone, stays = await service.register("gone@example.com", "long enough"), await service.register()
    async with (
        connect(AccessTokens(SECRET, 600).issue(str(uuid.uuid4()), "service")) as bank,
        connect(stays.token) as other,
    ):
        async with connect(gone.token) as node:
            for account in (gone.account_id, stays.account_id):
                await bank.transfer(debit=WORLD, credit=account, amount=100, asset=ASSET)
            await node.transfer(debit=gone.account_id, credit=stays.account_id, amount=1, asset=ASSET)
            headers = {"Authorization": f"Bearer {gone.token}"}
            assert (await service.call("POST", "/api/v1/auth/logout", headers=headers))[0] == 204
            async with asyncio.timeout(REVOKED_WITHIN_S):
                while node.is_joined:  # the root has cut it off, and will not have it again
                    await asyncio.sleep(0.02)
                while node._end is None:
                    await asyncio.sleep(0.02)
            with pytest.raises(Unauthorized):
                await node.transfer(debit=gone.account_id, credit=stays.account_id, amount=1, asset=ASSET)
        await service.kill("transactions-0", "transactions-1", "ledger")
        # Each of their successors, too, which had to be told, whoever leads the client to it.
        await until_all_refuse(bank, gone.token, "bitnexus", "ledger", "transactions-0", "transactions-1", "http-0")
        with pytest.raises(Unauthorized):
            async with connect(gone.token):
                pass
        await service.kill("operations")  # its successor begins anew, and tells nobody anything wrong
        fresh = await service.login("gone@example.com", "long enough")
        async with connect(fresh) as node:
            paid = await node.transfer(debit=gone.account_id, credit=stays.account_id, amount=1, asset=ASSET)
            assert paid.transfer is not None
            assert paid.transfer.debit_balance == 98
        paid = await other.transfer(debit=stays.account_id, credit=gone.account_id, amount=1, asset=ASSET)
        assert paid.transfer is not None


async def until_all_refuse(node: Client, shown: str, *names: str) -> None:
    """Each of these processes refuses whoever shows this token, whatever the others do."""
    loop = asyncio.get_running_loop()
    peers = Peers(loop, node._identity.keys, lambda *_: False)
    peers.token = shown
    try:
        async with asyncio.timeout(REVOKED_WITHIN_S):
            for name in names:
                while not await refuses(peers, node, name):
                    await asyncio.sleep(0.1)
    finally:
        peers.close()
        await peers.closed_all()


async def refuses(peers: Peers, node: Client, name: str) -> bool:
    """It answers at the door that this token is not good."""
    info = node._node.whereis(name)
    if info is None:
        return False
    connection = peers.connection_to(info.address)
    try:
        while not (connection.is_established or connection.is_closed):
            await asyncio.sleep(0.01)
        return isinstance(connection.refusal, Unauthorized)
    finally:
        connection.close("it was tried")
