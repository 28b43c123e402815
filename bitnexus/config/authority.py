"""A CA for development and certificates by it: made by `bitnexus node cert`, kept in one directory."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bitnexus.config.certificates import TlsFiles
from bitnexus.errors import BitNexusError

CA_DAYS: Final = 3650
#: Clocks differ: a certificate is valid from this long before it was made.
_BACKDATED: Final = timedelta(minutes=5)


class CannotIssue(BitNexusError):
    """A certificate could not be made; says why."""

    code, title = "cannot_issue", "The certificate could not be made"


@dataclass(frozen=True, slots=True)
class Issued:
    """The files of a certificate; `new_ca`: the CA was made for it."""

    files: TlsFiles
    new_ca: bool
    ends: datetime


def issue(directory: Path, name: str, *, hosts: list[str], days: int, as_node: bool) -> Issued:
    """Make ``<name>.pem`` and ``<name>.key`` (0600), and ``ca.pem`` and ``ca.key`` if there are none.

    A node's certificate stands for `hosts` (IP addresses and host names); any other is good for clients alone.

    Raises:
        CannotIssue: the directory cannot be used, or holds half a CA, or an expired one.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority, authority_key, new_ca = _authority(directory)
        now = datetime.now(UTC)
        ends = min(now + timedelta(days=days), authority.not_valid_after_utc)
        if ends <= now:
            raise CannotIssue(
                f"The CA {directory / 'ca.pem'} has expired: remove it and its key to have a new one made"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if as_node else [])
        builder = (
            _builder(name, authority.subject, key.public_key(), now - _BACKDATED, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        if as_node:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(authority_key, hashes.SHA256())
        files = TlsFiles(directory / f"{name}.pem", directory / f"{name}.key", directory / "ca.pem")
        _write(files.key, _pem_of(key), 0o600)
        _write(files.cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise CannotIssue(f"{directory} cannot be used: {error.strerror or error}") from error
    return Issued(files, new_ca, ends)


def _authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey, bool]:
    cert_path, key_path = directory / "ca.pem", directory / "ca.key"
    if cert_path.exists() != key_path.exists():
        there, missing = (cert_path, key_path) if cert_path.exists() else (key_path, cert_path)
        raise CannotIssue(f"{there} is there, but {missing} is not: put it back, or remove both to have a new CA made")
    if cert_path.exists():
        try:
            certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise CannotIssue(f"{cert_path} and {key_path} are no CA in PEM form without a password") from error
        if key.public_key() != certificate.public_key() or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CannotIssue(f"{key_path} is not the key of {cert_path}, or not one on an elliptic curve")
        return certificate, key, False
    new_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "BitNexus development CA")])
    certificate = (
        _builder(
            "BitNexus development CA", subject, new_key.public_key(), now - _BACKDATED, now + timedelta(days=CA_DAYS)
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(new_key.public_key()), critical=False)
        .sign(new_key, hashes.SHA256())
    )
    _write(key_path, _pem_of(new_key), 0o600)
    _write(cert_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, new_key, True


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _signs_certificates() -> x509.KeyUsage:
    no = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **no)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise CannotIssue(f"{host!r} is neither an IP address nor an ASCII host name") from None


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file as a whole; it never exists with other rights than `mode`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
