"""The bench as a whole, in its shortest form, and the PostgreSQL that it is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import asyncpg
import pytest

from bench.lineup import AIOHTTP_INDEXED, OURS
from bench.peers.transfer_sql import (
    FUNCTION,
    HISTORY_INDEXES,
    SCHEMA,
    Refused,
    Wanted,
    history,
    post,
    post_by_function,
    show,
)
from bench.pgbench import SCRIPTS, PgBench, program
from bench.servers import GivenServer, ask, create_database
from tests.running import ROOT

ME, THEM, MINE, THEIRS, NOBODYS = (str(uuid.UUID(int=number)) for number in range(1, 6))


@pytest.mark.timeout(240)
def test_a_quick_run_measures_everybody_without_an_error(tmp_path):
    path = tmp_path / "latest.json"
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", "mixed", "--quick", "--connections", "4", "--to", str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text())
    assert found["complaints"] == []
    assert [one["contestant"] for one in found["rounds"]] == [OURS, AIOHTTP_INDEXED]
    assert all(one["requests"] and one["rate"] > 0 for one in found["rounds"])
    assert all(one["cpu_us"]["postgresql"] > 0 for one in found["rounds"])
    assert found["settings"]["postgresql"]["fsync"] == "on"


async def test_databases_made_in_a_server_that_is_given_are_dropped_and_no_others(postgres):
    before = await _databases(postgres.url)
    server, other = GivenServer(postgres.url), GivenServer(postgres.url)
    for each in (server, other):
        await create_database(each, each.url_of("peer"))
    assert await ask(server.url_of("peer"), "SELECT 1") == 1
    await server.drop_databases()
    assert len(await _databases(postgres.url) - before) == 1
    await other.drop_databases()
    assert await _databases(postgres.url) == before


@pytest.mark.parametrize("form", SCRIPTS)
async def test_half_of_pgbenchs_transfers_touch_the_hot_account_and_all_are_there(postgres, form):
    server = GivenServer(postgres.url)
    path = program()
    assert path is not None
    bench = PgBench(path, server, clients=4, accounts=10)
    try:
        await bench.start()
        ran = await bench.load(form, 1, choice="hot")
        assert await bench.recorded() == ran.transfers > 100
        assert await bench.surplus() == 0
        sides = "count(*) FILTER (WHERE debit_account_id = 1), count(*) FILTER (WHERE credit_account_id = 1)"
        debits, credited = await ask(server.url_of("pgbench_peer"), f"SELECT ARRAY[{sides}] FROM transfers")
        assert 0.15 < debits / ran.transfers < 0.35
        assert 0.15 < credited / ran.transfers < 0.35
    finally:
        await server.drop_databases()


@pytest.mark.parametrize("by", [post, post_by_function])
async def test_the_peers_do_the_whole_job(postgres, by):
    server = GivenServer(postgres.url)
    url = server.url_of("peer")
    await create_database(server, url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHEMA + FUNCTION + HISTORY_INDEXES)
        await connection.executemany("INSERT INTO accounts VALUES ($1, $2, 100)", [(MINE, ME), (THEIRS, THEM)])
        shown, replayed = await by(connection, ME, "key", Wanted(MINE, THEIRS, 60))
        assert (shown["amount"], shown["debit_account_id"], replayed) == (60, MINE, False)
        assert await _balances(connection) == {MINE: 40, THEIRS: 160}
        # A repeated key gets the first answer, though there would be no money for it any more.
        again, replayed = await by(connection, ME, "key", Wanted(MINE, THEIRS, 60))
        assert ({**again, "id": int(again["id"])}, replayed) == ({**shown, "id": int(shown["id"])}, True)
        for key, wanted, why in (
            ("key", Wanted(MINE, THEIRS, 1), "key_used_for_another_transfer"),
            ("new", Wanted(MINE, THEIRS, 41), "exceeds_credits"),
            ("new", Wanted(THEIRS, MINE, 1), "account_not_found"),
            ("new", Wanted(MINE, NOBODYS, 1), "account_not_found"),
            ("new", Wanted(MINE, MINE, 1), "accounts_must_be_different"),
        ):
            with pytest.raises(Refused, match=f"^{why}$"):
                await by(connection, ME, key, wanted)
        assert await _balances(connection) == {MINE: 40, THEIRS: 160}
        newer, _ = await by(connection, THEM, "key", Wanted(THEIRS, MINE, 5))
        assert await show(connection, THEM, shown["id"]) is not None
        assert await show(connection, NOBODYS, shown["id"]) is None
        page = await history(connection, ME, MINE, 2**63 - 1, 20)
        assert [one["id"] for one in page] == [newer["id"], shown["id"]]
        assert [one["id"] for one in await history(connection, ME, MINE, newer["id"], 20)] == [shown["id"]]
        assert await history(connection, THEM, MINE, 2**63 - 1, 20) == []
    finally:
        await connection.close()
        await server.drop_databases()


async def _balances(connection):
    return {str(row["id"]): row["balance"] for row in await connection.fetch("SELECT id, balance FROM accounts")}


async def _databases(url):
    connection = await asyncpg.connect(url)
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()
