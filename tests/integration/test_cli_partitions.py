"""`bitnexus partitions` against a running service, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bitnexus.tokens import AccessTokens
from tests.service import Service

TRANSACTIONS = "bitnexus/transactions"
SOMEBODY = "2f4a6a0e-51a7-4d0b-9a75-0d9e1f6f1d55"


@pytest.fixture
async def service(fresh_database_url: str, tmp_path: Path):
    running = await Service.start(fresh_database_url, tmp_path, BITNEXUS_PARTITIONS="1", BITNEXUS_FRONTS="1")
    yield running
    await running.stop()


async def bitnexus(service: Service, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bitnexus",
        *arguments,
        env={**service.environment, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def shown(service: Service, *arguments: str) -> Any:
    code, out, err = await bitnexus(service, "partitions", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


async def test_partitions_are_shown_and_changed_from_the_command_line(service: Service) -> None:
    alice, bob = await service.register(), await service.register()
    await service.fund(alice, 100)
    fields = (await shown(service))["fields"]
    assert (fields["partitions"], fields["slots"], fields["routers"]) == (1, "settled", 1)
    assert (await bitnexus(service, "partitions"))[:2] == (0, "1 partition\n")
    dry = "3 partitions instead of 1: 67% of the users would move.\n"
    code, out, _ = await bitnexus(service, "partitions", "3", "--dry-run")
    assert code == 0
    *steps, said = out.splitlines(keepends=True)
    assert [step.split()[1:3] for step in steps] == [
        ["start", f"{TRANSACTIONS}/transactions-1"],
        ["start", f"{TRANSACTIONS}/transactions-2"],
        ["move", TRANSACTIONS],
    ]
    assert said == dry
    changed = await shown(service, "3")
    assert {name: changed[name] for name in ("before", "count", "slots")} == {"before": 1, "count": 3, "slots": 682}
    assert (await service.transfer(alice, bob, 1))[0] == 201
    assert (await bitnexus(service, "partitions", "3"))[:2] == (0, "There are 3 partitions already.\n")
    code, out, _ = await bitnexus(service, "partitions", "2")
    assert (code, out.splitlines()[-1][:29]) == (0, "2 partitions instead of 3: 33")
    code, out, err = await bitnexus(service, "audit", "--json")
    assert (code, err) == (0, "")
    audited = [row for row in json.loads(out) if row["verb"] == "partitions"]
    assert [(row["entrance"], row["arguments"]["count"], row["outcome"], row["detail"]) for row in audited] == [
        ("cli", 2, "done", "2 instead of 3"),
        ("cli", 3, "nothing", "3 instead of 3"),
        ("cli", 3, "done", "3 instead of 1"),
    ]
    assert [row["id"] for row in audited][-1] == changed["command_id"]
    assert all("@" in row["operator_name"] and row["address"] for row in audited)
    assert sum(name.startswith("transactions-") for name in await service.pids()) == 2
    assert (await service.transfer(alice, bob, 1))[0] == 201


async def test_who_may_not_and_what_cannot_be_is_refused(service: Service, tmp_path: Path) -> None:
    user = AccessTokens(service.environment["SECRET_KEY_BASE"], 600).issue(SOMEBODY, "user")
    code, _, err = await bitnexus(service, "partitions", "2", BITNEXUS_TOKEN=user)
    assert (code, "may not send this ChangePartitions" in err) == (1, True)
    for wrong in ("0", "257", "many"):
        assert (await bitnexus(service, "partitions", wrong))[0] == 2
    code, _, err = await bitnexus(service, "partitions", BITNEXUS_DATA_DIR=str(tmp_path / "elsewhere"))
    assert code == 1
    assert err.startswith("error:")
    assert (await bitnexus(service, "partitions"))[:2] == (0, "1 partition\n")
