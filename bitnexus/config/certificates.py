"""The certificate, key and CA by which hosts know each other: what is wrong with them is said at the start."""

from __future__ import annotations

import ipaddress
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from bitnexus.errors import InvalidSettings

CERT, KEY, CA = (f"BITNEXUS_NODE_TLS_{part}" for part in ("CERT", "KEY", "CA"))
#: A chain from the node's certificate to its CA that is longer than this is none.
LONGEST_CHAIN = 5


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the own certificate (and intermediates), its key, and the CA (or several) of all peers."""

    cert: Path
    key: Path
    ca: Path


class _Unfit(ValueError):
    """What is wrong, as the rest of a sentence that begins with a variable."""


def check(files: TlsFiles, *, address: str | None, now: datetime | None = None) -> datetime:
    """When the first of the certificates ends. `address`: a node's, an IP address: the certificate must stand for it.

    Raises:
        InvalidSettings: names the variable and what is wrong: unreadable, expired, not of that CA or key, not for that
            address or use; or a key that everybody may read.
    """
    now = now or datetime.now(UTC)
    try:
        return _check(files, address, now)
    except _Unfit as error:
        raise InvalidSettings(str(error)) from error


def _check(files: TlsFiles, address: str | None, now: datetime) -> datetime:
    chain = _certificates(CERT, files.cert)
    authorities = _certificates(CA, files.ca)
    own = chain[0]
    for variable, path, certificate in ((CERT, files.cert, own), (CA, files.ca, authorities[0])):
        if certificate.not_valid_after_utc <= now:
            raise _Unfit(f"{variable}: {path} has expired, at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        if certificate.not_valid_before_utc > now:
            begin = certificate.not_valid_before_utc
            raise _Unfit(f"{variable}: {path} is valid only from {begin:%Y-%m-%d %H:%M} UTC on")
    if _public_key_of(files.key) != own.public_key():
        raise _Unfit(f"{KEY}: {files.key} is not the key of the certificate in {CERT}")
    if not _leads_to(own, chain[1:], authorities):
        raise _Unfit(f"{CERT}: {files.cert} was not issued by the CA in {CA}")
    _check_uses(files.cert, own, as_node=address is not None)
    if address is not None and ipaddress.ip_address(address) not in _addresses_of(own):
        raise _Unfit(f"{CERT}: {files.cert} does not stand for the address {address} of BITNEXUS_NODE_HOST")
    return min(own.not_valid_after_utc, authorities[0].not_valid_after_utc)


def _read(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unfit(f"{variable}: {path} cannot be read: {error.strerror}") from error


def _certificates(variable: str, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(variable, path))
    except ValueError as error:
        if isinstance(error, _Unfit):
            raise
        raise _Unfit(f"{variable}: {path} holds no certificate in PEM form") from error


def _public_key_of(path: Path) -> object:
    text = _read(KEY, path)
    if stat.S_IMODE(path.stat().st_mode) & 0o007:
        raise _Unfit(f"{KEY}: {path} can be used by everybody on this host: chmod 600 it")
    try:
        return serialization.load_pem_private_key(text, password=None).public_key()
    except TypeError as error:
        raise _Unfit(f"{KEY}: {path} is encrypted; a key without a password is needed") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _Unfit(f"{KEY}: {path} holds no private key in PEM form") from error


def _leads_to(own: x509.Certificate, between: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
    certificate = own
    for _ in range(LONGEST_CHAIN):
        if any(_issued(authority, certificate) for authority in authorities):
            return True
        above = next((each for each in between if each != certificate and _issued(each, certificate)), None)
        if above is None:
            return False
        certificate = above
    return False


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _check_uses(path: Path, own: x509.Certificate, *, as_node: bool) -> None:
    try:
        uses: set[ObjectIdentifier] = set(own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return  # for any use
    needed = {ExtendedKeyUsageOID.CLIENT_AUTH} | ({ExtendedKeyUsageOID.SERVER_AUTH} if as_node else set())
    if not needed <= uses:
        kind = "both servers and clients" if as_node else "clients"
        raise _Unfit(f"{CERT}: {path} is not for {kind} (extended key usage)")


def _addresses_of(own: x509.Certificate) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = names.get_values_for_type(x509.IPAddress)
    return [each for each in found if isinstance(each, ipaddress.IPv4Address | ipaddress.IPv6Address)]
