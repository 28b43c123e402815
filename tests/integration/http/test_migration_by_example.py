"""docs/migration.md, pasted into a shell phase by phase, beside a real old service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from bitnexus.http.client import Client
from tests import old_service
from tests.running import ROOT, accepts_connections, free_port

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="no curl, or no bash"),
]

PAGE = (ROOT / "docs" / "migration.md").read_text()
PASSWORD = "long enough for ops"
#: How the service is started and restarted is everybody's own affair: here, in the background of a shell.
SHELL = """
set -euo pipefail
[ ! -e state ] || source ./state
bitnexus() { if [ "$1" = serve ]; then start; else command bitnexus "$@"; fi; }
start() {
  command bitnexus serve >>log 2>&1 </dev/null & echo $! >pid
  for _ in $(seq 400); do ! curl -fs -o ready http://127.0.0.1:$PORT/health || return 0; sleep 0.05; done
  tail -n 20 log; return 1
}
restart() {
  kill -TERM "$(cat pid)"
  for _ in $(seq 300); do kill -0 "$(cat pid)" 2>kill || { start; return; }; sleep 0.05; done
  return 1
}
"""


def commands(phase: int) -> list[str]:
    """The commands of a phase as they stand, with a restart where the page says so."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)[phase]
    assert text.startswith(f"{phase}. ")
    found = []
    for line in re.findall(r"^    (.*)$", text, re.MULTILINE):
        if re.match("(?:export|unset|bitnexus|curl) ", line):
            found.append(line)
        if re.search("#.* restart", line):
            found.append("restart")
    return found


class Terminal:
    """An operator's: what is exported in one phase is there in the next one."""

    def __init__(self, directory: Path, database_url: str, old_port: int) -> None:
        self.directory = directory
        self.port = free_port()
        self._substitutes = {
            "127.0.0.1:4000": f"127.0.0.1:{self.port}",
            "PORT=4000": f"PORT={self.port}",
            "DATABASE_URL=…": f"DATABASE_URL='{database_url}'",
            "SECRET_KEY_BASE=…": f"SECRET_KEY_BASE={secrets.token_hex(64)}",
            "/srv/bitnexus": str(directory / "var"),
            "10.0.0.9:4001": f"127.0.0.1:{old_port}",
        }

    async def run(self, phase: int) -> str:
        """What the commands of the phase print; each of them has to succeed."""
        script = "\n".join(commands(phase))
        for of_the_page, here in self._substitutes.items():
            script = script.replace(of_the_page, here)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "BITNEXUS_URL": f"http://127.0.0.1:{self.port}",
            "BITNEXUS_FRONTS": "1",
        }
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"{SHELL}\n{script}\nexport -p >state"),
            cwd=self.directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # without a terminal, a password is read from the standard input
        )
        async with asyncio.timeout(60):
            told = (await process.communicate(f"{PASSWORD}\n{PASSWORD}\n".encode()))[0].decode()
        assert process.returncode == 0, told[-3000:]
        return told

    def token(self) -> str:
        """What the page has put into BITNEXUS_TOKEN."""
        found = re.search('BITNEXUS_TOKEN="(.*)"', (self.directory / "state").read_text())
        assert found is not None
        return found[1]

    def close(self) -> None:
        """End the service, in order if it will."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            node = psutil.Process(int((self.directory / "pid").read_text()))
            node.terminate()
            try:
                node.wait(15)
            except psutil.TimeoutExpired:
                node.kill()
                raise


@pytest.fixture
async def old_port():
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.old_service", str(port)), env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        async with asyncio.timeout(20):
            while not accepts_connections(port):
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        async with asyncio.timeout(10):
            await process.wait()


@pytest.fixture
def terminal(postgres, tmp_path, old_port):
    found = Terminal(tmp_path, postgres.url_of("moved_by_the_page"), old_port)
    yield found
    found.close()


async def test_the_four_phases_do_what_the_page_says(terminal, old_port):
    # 1: beside. Users are made here by a program of the operators' own.
    told = await terminal.run(1)
    assert '"status":"healthy"' in told
    url = f"http://127.0.0.1:{terminal.port}"
    of_old = {"Authorization": f"Bearer {old_service.TOKEN}"}
    accounts = {}
    async with Client(url, tokens=terminal.token()) as api:
        for email in old_service.BALANCES:
            account_id = (await api.users.create(email, "another password")).account_id
            assert account_id is not None
            accounts[email] = account_id

    # 2: everything passed on, tokens of the old service and all.
    told = await terminal.run(2)
    assert "1.1 bitnexus" in told
    assert "bitnexus_legacy_requests_total{" in told
    assert 'route="/api/v1/*"' in told
    async with aiohttp.ClientSession(url, headers=of_old) as session:
        login = {"email": old_service.EMAIL, "password": old_service.PASSWORD}
        async with session.post("/api/v1/auth/login", json=login) as response:
            assert (await response.json())["token"] == old_service.TOKEN
        async with session.get("/api/v1/products") as response:
            assert await response.json() == {"products": old_service.PRODUCTS}

    # 3: the money moves. The old books are exported, from the old service itself.
    old = aiohttp.ClientSession(f"http://127.0.0.1:{old_port}", headers=of_old)
    async with old, old.get("/api/v1/exports/balances") as response:
        balances = await response.json()
    lines = [f"world,{accounts[email]},{amount},opening balance" for email, amount in balances.items()]
    head = "debit_account_id,credit_account_id,amount,description"
    (terminal.directory / "opening.csv").write_text("\n".join([head, *lines, ""]))
    told = await terminal.run(3)
    assert "answered here" in told
    async with Client(url) as api:
        for email, amount in balances.items():
            await api.auth.login(email, "another password")
            assert (await api.accounts.get(accounts[email])).balance == amount
    async with aiohttp.ClientSession(url, headers=of_old) as session:
        async with session.get("/api/v1/products") as response:
            assert (response.status, "Via" in response.headers) == (401, False)
        async with session.get("/api/v1/reports/march") as response:
            assert await response.json() == {"report": "march", "old": True}
            assert response.headers["Via"].endswith("1.1 bitnexus")

    # 4: retired.
    told = await terminal.run(4)
    used = re.findall(r'last_request_timestamp_seconds\{.*route="/api/v1/(\w+)/\*"\} (\S+)', told)
    assert {route: float(at) > 0 for route, at in used} == {"reports": True, "exports": False}
    async with aiohttp.ClientSession(url) as session, session.get("/api/v1/reports/march") as response:
        assert (response.status, "Via" in response.headers) == (404, False)
