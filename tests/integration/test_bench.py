"""The bench as a whole, in its shortest form, against the tests' own PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import asyncpg
import pytest

from tests.running import ROOT


async def _databases(url):
    connection = await asyncpg.connect(url)
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


@pytest.mark.timeout(240)
def test_a_quick_run_measures_everybody_without_an_error_and_leaves_nothing_behind(postgres, tmp_path):
    before = asyncio.run(_databases(postgres.url))
    path = tmp_path / "latest.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "batches", "mixed", "--quick", "--connections", "4", "--to", str(path)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": postgres.url},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text())
    assert found["complaints"] == []
    assert {(one["contestant"], one["workload"]) for one in found["rounds"]} == {
        ("BitNexus", "batch of 100"),
        ("BitNexus", "batch of 1,000"),
        ("pgbench, statements, 64 clients", "transfer"),
        ("BitNexus", "mixed"),
        ("aiohttp + asyncpg, histories indexed", "mixed"),
    }
    assert all(one["requests"] and one["rate"] > 0 for one in found["rounds"])
    assert [(goal["job"], goal["goal"]) for goal in found["goals"]] == [("batches of 1,000", 10.0)]
    assert found["versions"]["postgresql"]
    assert asyncio.run(_databases(postgres.url)) == before
