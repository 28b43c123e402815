"""The books on the command line, beside a ledger at work."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from bitnexus.actors.ledger.accounts import world_account_id
from tests.integration.ledger_harness import ASSET, WORLD, post, running


@pytest.fixture
def run(fresh_database_url, tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path.cwd()),
        "DATABASE_URL": fresh_database_url,
        "BITNEXUS_DATA_DIR": str(tmp_path / "var"),
        "BITNEXUS_PROFILE": "test",
        "SECRET_KEY_BASE": "test-" * 16,
        "COLUMNS": "200",
        "TERM": "xterm-256color",
    }

    def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bitnexus", "ledger", *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            text=True,
            timeout=50,
            check=False,
            **{"capture_output": True, **options},
        )

    return run


@pytest.fixture
async def ledger(fresh_database_url):
    async with running(fresh_database_url) as writer:
        yield writer


async def test_the_trial_balance_is_printed_as_json_now_and_of_then(ledger, run):
    (alice,) = await ledger.funded(1, 700)
    then = ledger.writer.head.tree.size - 1
    await ledger.ask(post(alice, WORLD, 100))
    done = run("trial-balance", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert (shown["as_of_seq"], shown["balanced"]) == (then + 1, True)
    (usd,) = shown["assets"]
    assert (usd["asset"], usd["accounts"], usd["debits_posted"], usd["difference"]) == (ASSET, 2, 800, 0)
    earlier = json.loads(run("trial-balance", "--at", str(then)).stdout)
    assert (earlier["as_of_seq"], earlier["assets"][0]["debits_posted"]) == (then, 700)
    assert json.loads(run("trial-balance", "--at", "2020-01-01T00:00:00Z").stdout)["assets"] == []


async def test_books_that_do_not_balance_end_with_1(ledger, run, fresh_database_url):
    (alice,) = await ledger.funded(1, 700)
    connection = await asyncpg.connect(fresh_database_url)
    await connection.execute("UPDATE ledger_accounts SET credits_posted = credits_posted + 1 WHERE id = $1", alice)
    await connection.close()
    done = run("trial-balance")
    assert done.returncode == 1
    assert json.loads(done.stdout)["assets"][0]["difference"] == 1
    assert "1 assets are not in balance" in done.stderr


@pytest.mark.parametrize("at", ["yesterday", "2025-02-30T00:00:00Z", str(2**62)])
async def test_a_moment_that_is_none_is_wrong_usage(ledger, run, at):
    done = run("trial-balance", "--at", at)
    assert done.returncode == 2
    assert "--at" in done.stderr


async def test_a_database_without_the_schema_is_named_so(run, fresh_database_url):
    from bitnexus.storage import schema

    await schema.rollback(fresh_database_url, steps=100)
    for command in ("trial-balance", "blocks"):
        done = run(command)
        assert done.returncode == 1
        assert "bitnexus db migrate" in done.stderr
        assert "Traceback" not in done.stderr


async def test_blocks_are_listed_newest_first(ledger, run):
    (alice,) = await ledger.funded(1, 700)
    for _ in range(3):
        await ledger.ask(post(alice, world_account_id(ASSET), 1))
    height = ledger.writer.head.height
    newest, second = json.loads(run("blocks", "--limit", "2", "--json").stdout)
    assert (newest["height"], second["height"]) == (height, height - 1)
    assert (newest["hash"], newest["prev_hash"]) == (ledger.writer.head.hash.hex(), second["hash"])
    assert newest["first_seq"] == second["tree_size"]
    (first,) = json.loads(run("blocks", "--before", "2").stdout)
    assert (first["height"], first["first_seq"], first["prev_hash"]) == (1, 0, "00" * 32)


async def test_on_a_terminal_there_is_a_table(ledger, run):
    await ledger.funded(1, 700)
    for arguments, expected in ((["trial-balance"], "USD/2"), (["blocks"], ledger.writer.head.hash.hex()[:16])):
        mine, theirs = pty.openpty()
        done = run(*arguments, stdout=theirs, stderr=subprocess.PIPE, capture_output=False)
        os.close(theirs)
        with os.fdopen(mine, "rb", buffering=0) as terminal:
            shown = terminal.read(65_536).decode()
        assert done.returncode == 0, done.stderr
        assert expected in shown
        assert not shown.lstrip().startswith("{")
