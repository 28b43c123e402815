"""Two nodes forced on one database: at every height one commits, the other ends, and nothing forks."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bitnexus.actors.ledger.verification import verify
from tests.service import Service

ROUNDS = 3
DEADLINE_S = 20


def ends_of_ledger(log: Path) -> list[dict[str, Any]]:
    """The log lines of a node that tell of the end of its ledger."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "supervisor_child_terminated" and line["child"] == "ledger"]


@pytest.mark.timeout(120)
async def test_of_two_ledgers_on_one_database_one_commits_and_the_other_ends_and_nothing_forks(
    fresh_database_url, tmp_path
):
    nodes: list[Service] = []
    told: dict[str, dict[str, Any]] = {}
    async with AsyncExitStack() as stack:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            nodes.append(await Service.start(fresh_database_url, tmp_path / name, BITNEXUS_PARTITIONS="1"))
            stack.push_async_callback(nodes[-1].stop)
        alice, bob = await nodes[0].register(), await nodes[0].register()
        await nodes[0].fund(alice, 1_000)

        async def pay(node: Service) -> None:
            status, answer, _ = await node.transfer(alice, bob, 1)
            assert status == 201, answer
            told[answer["data"]["id"]] = answer["data"]

        for _ in range(ROUNDS):
            for node, other in (nodes, nodes[::-1]):
                before = await other.pids()
                await pay(node)
                # The other one notices when it commits itself: it ends, the next one reloads, and the client waits.
                await pay(other)
                async with asyncio.timeout(DEADLINE_S):
                    while (await other.pids()).get("ledger", before["ledger"]) == before["ledger"]:
                        await asyncio.sleep(0.02)
                assert {**await other.pids(), "ledger": 0} == {**before, "ledger": 0}, "nobody else ended"

        async def pay_at_last(node: Service) -> None:
            fields = {"id": str(uuid.uuid4())}
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    status, answer, _ = await node.transfer(alice, bob, 1, fields=fields)
                    if status in {200, 201}:
                        break
                    # While one finds out that it is not alone, it refuses what is new, before it looks at it.
                    assert (status, answer["code"]) == (503, "database_unavailable"), answer
            told[answer["data"]["id"]] = answer["data"]

        # Both at once, as fast as they can.
        await asyncio.gather(*(pay_at_last(node) for node in nodes * 10))
    for name in ("one", "two"):
        ends = ends_of_ledger(tmp_path / name / "log")
        fenced = [end for end in ends if "Fenced" in json.dumps(end)]
        assert len(fenced) >= ROUNDS, ends
        assert len(ends) - len(fenced) <= 1, "but for the stop in order, none ended for another reason"
    db = await asyncpg.connect(fresh_database_url)
    found = await verify(db)
    rows = await db.fetch(
        "SELECT id::text, seq, block FROM ledger_transfers WHERE debit_account_id = $1", alice.account_id
    )
    heights = await db.fetch("SELECT height, hash, prev_hash FROM ledger_blocks ORDER BY height")
    await db.close()
    assert {row["id"]: (row["seq"], row["block"]) for row in rows} == {
        id_: (data["seq"], data["block"]) for id_, data in told.items()
    }
    assert len(told) == ROUNDS * 4 + 20
    assert [row["height"] for row in heights] == list(range(1, found.blocks + 1))
    assert all(row["prev_hash"] == before["hash"] for before, row in itertools.pairwise(heights))
