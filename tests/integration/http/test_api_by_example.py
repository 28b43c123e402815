"""docs/api.md, pasted into a shell as it stands."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest

from bitnexus.http.openapi.unserved import whole_document
from tests.running import ROOT
from tests.service import ADMIN_EMAIL, ADMIN_PASSWORD

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="no curl, or no bash"),
]

PAGE = ROOT / "docs" / "api.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


async def test_every_resource_answers_as_the_page_says(service):
    await service.admin()
    script = "set -euo pipefail\n" + "".join(BLOCKS)
    environment = {
        **service.environment,
        "HOST": service.running.address,
        "ADMIN_EMAIL": ADMIN_EMAIL,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "bash", "-s", env=environment, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(55):
        told = (await process.communicate(script.encode()))[0].decode()
    assert process.returncode == 0, told[-3000:]
    lines = told.splitlines()
    assert "exceeds_credits" in lines
    assert "BitNexus" in lines
    assert "32" in lines, "bytes of a tile's one hash"
    assert any('"outcome":"would"' in line for line in lines)
    assert any('"quantity":2' in line for line in lines)


async def test_no_resource_is_left_out():
    text = "".join(BLOCKS)
    for tag in whole_document()["tags"]:
        wanted = {"system": "$HOST/health"}.get(tag["name"], f" {tag['name']}")
        assert wanted in text or f'"{tag["name"]}' in text, tag["name"]
