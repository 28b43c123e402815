"""Files of TLS that would fail at every connection are refused at the start, by the variable that names them."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bitnexus.config import authority, certificates
from bitnexus.config.authority import CannotIssue
from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import InvalidSettings


def issue(directory: Path, name: str = "node", **options) -> TlsFiles:
    return authority.issue(directory, name, **{"hosts": ["127.0.0.1"], "days": 30, "as_node": True, **options}).files


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return issue(tmp_path / "tls")


def refusal(files: TlsFiles, *, address: str | None = "127.0.0.1", now: datetime | None = None) -> str:
    with pytest.raises(InvalidSettings) as caught:
        certificates.check(files, address=address, now=now)
    return str(caught.value)


def test_what_the_command_makes_is_accepted(files: TlsFiles) -> None:
    ends = certificates.check(files, address="127.0.0.1")
    assert timedelta(days=29) < ends - datetime.now(UTC) <= timedelta(days=30)


def test_the_keys_are_their_owners_alone_and_the_ca_is_kept(tmp_path: Path, files: TlsFiles) -> None:
    ca = files.ca.read_bytes()
    first = files.cert.read_bytes()
    for path in (files.key, files.ca.with_name("ca.key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = issue(tmp_path / "tls")
    assert again.ca.read_bytes() == ca
    assert again.cert.read_bytes() != first
    certificates.check(again, address="127.0.0.1")
    certificates.check(
        TlsFiles(issue(tmp_path / "tls", "wallet", as_node=False).cert, tmp_path / "tls/wallet.key", ca=again.ca),
        address=None,
    )


def test_half_a_ca_is_not_replaced(tmp_path: Path, files: TlsFiles) -> None:
    files.ca.with_name("ca.key").unlink()
    with pytest.raises(CannotIssue, match=r"ca\.key is not"):
        issue(tmp_path / "tls")


@pytest.mark.parametrize("part", ["cert", "key", "ca"])
def test_a_file_that_is_not_there_or_holds_something_else_is_named(tmp_path: Path, files: TlsFiles, part: str) -> None:
    path: Path = getattr(files, part)
    path.write_text("no PEM")
    assert refusal(files).startswith(f"BITNEXUS_NODE_TLS_{part.upper()}: {path} holds no")
    path.unlink()
    assert refusal(files).startswith(f"BITNEXUS_NODE_TLS_{part.upper()}: {path} cannot be read")


def test_an_expired_certificate_is_refused_and_so_is_one_of_the_future(files: TlsFiles) -> None:
    now = datetime.now(UTC)
    assert "BITNEXUS_NODE_TLS_CERT" in refusal(files, now=now + timedelta(days=31))
    assert "has expired" in refusal(files, now=now + timedelta(days=31))
    assert "valid only from" in refusal(files, now=now - timedelta(days=1))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, files: TlsFiles) -> None:
    other = issue(tmp_path / "tls", "other")
    assert "is not the key of the certificate" in refusal(TlsFiles(files.cert, other.key, files.ca))


def test_a_certificate_of_another_ca_is_refused(tmp_path: Path, files: TlsFiles) -> None:
    other = issue(tmp_path / "other")
    assert "was not issued by the CA" in refusal(TlsFiles(files.cert, files.key, other.ca))


def test_a_certificate_for_another_address_is_refused(files: TlsFiles) -> None:
    assert "10.0.0.7 of BITNEXUS_NODE_HOST" in refusal(files, address="10.0.0.7")


def test_a_clients_certificate_makes_no_node(tmp_path: Path, files: TlsFiles) -> None:
    client = issue(tmp_path / "tls", "wallet", as_node=False)
    certificates.check(client, address=None)
    assert "is not for both servers and clients" in refusal(client)


def test_a_key_that_everybody_may_read_is_refused(files: TlsFiles) -> None:
    files.key.chmod(0o644)
    assert "chmod 600" in refusal(files)
