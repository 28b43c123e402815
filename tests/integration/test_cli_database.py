"""The commands ``db`` and ``user`` say what they did, can be repeated, and end with the right code."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bitnexus.passwords import verify_password
from bitnexus.storage.embedded import EmbeddedPostgres
from bitnexus.tokens import AccessTokens

_ROOT = Path(__file__).parents[2]


def _run(*arguments: str, url: str = "", data_dir: Path, text: str = "") -> tuple[int, str, str]:
    """Run ``bitnexus <arguments>``: exit code, standard output, standard error."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_ROOT),
        "BITNEXUS_DATA_DIR": str(data_dir),
        "DATABASE_URL": url,
    }
    done = subprocess.run(
        [sys.executable, "-c", "from bitnexus.cli import main; main()", *arguments],
        input=text,
        capture_output=True,
        text=True,
        cwd=data_dir.parent,
        env=environment,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.timeout(180)  # a dozen programs one after another, each of which loads everything
def test_the_schema_goes_up_and_down_in_a_database_of_ones_own(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    place: dict[str, Any] = {"url": postgres.url_of("from_cli"), "data_dir": tmp_path / "data"}
    code, _, complaint = _run("db", "status", **place)
    assert (code, "bitnexus db create" in complaint) == (1, True)
    assert _run("db", "create", **place) == (0, "The database was created.\n", "")
    assert _run("db", "create", **place) == (0, "The database is there already.\n", "")
    code, printed, _ = _run("db", "status", "--json", **place)
    before = json.loads(printed)
    assert (code, before["current"], before["pending"][-1]) == (3, None, before["head"])
    assert _run("db", "migrate", **place) == (0, f"Applied {', '.join(before['pending'])}.\n", "")
    assert _run("db", "migrate", **place) == (0, "The schema is up to date already.\n", "")
    code, printed, _ = _run("db", "status", **place)
    assert (code, f"current  {before['head']}" in printed) == (0, True)
    assert _run("db", "rollback", **place, text="n\n")[0] == 130
    undone = ", ".join(reversed(before["pending"]))
    assert _run("db", "rollback", "--yes", "--steps", "99", **place) == (0, f"Undone {undone}.\n", "")
    assert _run("db", "rollback", "--yes", **place) == (0, "There is nothing to roll back.\n", "")
    assert not (tmp_path / "data" / "postgresql").exists()


def test_without_a_database_url_the_embedded_server_runs_for_the_command(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert _run("db", "migrate", data_dir=data_dir)[0] == 0
    assert not (data_dir / "postgresql.lock").exists()
    assert not (data_dir / "postgresql" / "18" / "postmaster.pid").exists()
    with EmbeddedPostgres(data_dir) as server:  # as `serve` would
        assert _run("db", "status", data_dir=data_dir)[0] == 0
        assert server.healthy()


def test_an_unreachable_server_is_a_clear_failure(tmp_path: Path) -> None:
    code, _, complaint = _run("db", "migrate", url="postgresql://x:y@127.0.0.1:1/z", data_dir=tmp_path / "data")
    assert (code, complaint) == (1, "error: The database is not available\n")


def test_a_server_that_cannot_start_is_a_clear_failure(tmp_path: Path) -> None:
    cluster = tmp_path / "data" / "postgresql" / "18"
    cluster.mkdir(parents=True)
    (cluster / "letters").touch()
    code, _, complaint = _run("db", "migrate", data_dir=tmp_path / "data")
    assert (code, "neither empty nor a PostgreSQL cluster" in complaint) == (1, True)


def test_an_admin_is_created_once(fresh_database_url: str, tmp_path: Path) -> None:
    create = ("user", "create-admin", "--email", "root@example.org", "--password-stdin")
    place: dict[str, Any] = {"url": fresh_database_url, "data_dir": tmp_path / "data"}
    code, printed, _ = _run(*create, **place, text="correct horse\n")
    assert (code, "root@example.org" in printed) == (0, True)
    code, _, complaint = _run(*create, **place, text="correct horse\n")
    assert (code, "already been taken" in complaint) == (1, True)

    async def stored() -> asyncpg.Record:
        connection = await asyncpg.connect(fresh_database_url)
        try:
            return await connection.fetchrow("SELECT role, password_hash FROM users")
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        row = runner.run(stored())
    assert row["role"] == "admin"
    assert verify_password("correct horse", row["password_hash"]) == (True, False)


def test_a_service_account_gets_tokens_of_the_lifetime_that_was_asked_for(
    fresh_database_url: str, tmp_path: Path
) -> None:
    place: dict[str, Any] = {"url": fresh_database_url, "data_dir": tmp_path / "data"}
    code, printed, _ = _run("user", "create-service", "--email", "wallet@example.org", **place)
    assert (code, "The service account wallet@example.org was created" in printed) == (0, True)
    token = ("user", "token", "--email")
    code, printed, _ = _run(*token, "Wallet@example.org", "--lifetime", "2h", **place)
    assert code == 0
    secret = (tmp_path / "data" / "secret_key_base").read_text().strip()
    principal = AccessTokens(secret, 60).verify(printed.strip())
    assert principal.role == "service"
    assert 7100 < principal.expires_at - time.time() <= 7200
    code, _, complaint = _run(*token, "nobody@example.org", **place)
    assert (code, "no user with this email" in complaint) == (1, True)
    for lifetime in ("0s", "h", "2 weeks", "367d"):
        code, _, complaint = _run(*token, "wallet@example.org", "--lifetime", lifetime, **place)
        assert (code, "--lifetime" in complaint) == (2, True)


@pytest.mark.parametrize(
    ("email", "password", "complaint"),
    [
        ("root@example.org", "short", "8 to 1024 characters"),
        ("root@example.org", "", "8 to 1024 characters"),
        ("root@example.org", "x" * 1025, "8 to 1024 characters"),
        ("nobody", "correct horse", "not an email address"),
    ],
)
def test_an_admin_without_a_proper_email_and_password_is_refused(
    tmp_path: Path, email: str, password: str, complaint: str
) -> None:
    create = ("user", "create-admin", "--email", email, "--password-stdin")
    code, _, error = _run(*create, data_dir=tmp_path / "data", text=f"{password}\n")
    assert code != 0
    assert complaint in error


def test_an_admin_cannot_be_created_in_an_outdated_schema(empty_database_url: str, tmp_path: Path) -> None:
    create = ("user", "create-admin", "--email", "root@example.org", "--password-stdin")
    code, _, error = _run(*create, url=empty_database_url, data_dir=tmp_path / "data", text="correct horse\n")
    assert (code, "bitnexus db migrate" in error) == (1, True)
