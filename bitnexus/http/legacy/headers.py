"""Which headers go on to the old service, and which come back: those that belong to one connection do neither. Pure.

RFC 9110, 7.6: connection-specific headers end at each hop; a gateway says that it is there (`Via`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from bitnexus.errors import BadRequest

PSEUDONYM: Final = "bitnexus"
_VIA: Final = f"1.1 {PSEUDONYM}"
_OF_A_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: What this service says itself, whatever a client has said; `expect` it has answered.
_OWN_ONWARD: Final = frozenset(
    {"host", "expect", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id", "via"}
)
_OWN_BACK: Final = frozenset({"server", "via", "x-request-id"})


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a request came from. `is_trusted`: from a proxy of ours, which is believed what it says of others."""

    peer: str
    is_trusted: bool
    scheme: str
    request_id: str


def onward(given: CIMultiDictProxy[str], hop: Hop) -> CIMultiDict[str]:
    """The headers for the old service, but for the host.

    Raises:
        BadRequest: one has bytes that cannot be passed on, or this service passed the request on once before.
    """
    if any(PSEUDONYM in via.split() for value in given.getall("Via", ()) for via in value.split(",")):
        raise BadRequest("This request has been passed on by this service before")
    passed = _passed(given, _OWN_ONWARD)
    for value in passed.values():
        if not _is_encodable(value):
            raise BadRequest("A header is not UTF-8")
    # What a stranger says of others must not look as if we had said it.
    before = given.getall("X-Forwarded-For", ()) if hop.is_trusted else ()
    passed["X-Forwarded-For"] = ", ".join((*before, hop.peer))
    passed["X-Forwarded-Proto"] = _said(given, "X-Forwarded-Proto", hop) or hop.scheme
    host = _said(given, "X-Forwarded-Host", hop) or given.get("Host", "")
    if host and _is_encodable(host):
        passed["X-Forwarded-Host"] = host
    passed["X-Request-Id"] = hop.request_id
    passed["Via"] = _and_ours(given.getall("Via", ()))
    return passed


def back(given: CIMultiDictProxy[str], origin: str, base_path: str, request_id: str) -> CIMultiDict[str]:
    """The headers for the client. Addresses of the old service (`origin`, `base_path`) become paths of this one."""
    passed = _passed(given, _OWN_BACK)
    for name in ("Location", "Content-Location"):
        if name in passed:
            passed[name] = _public(passed[name], origin, base_path)
    made = CIMultiDict((name, _readable(value)) for name, value in passed.items())
    made["Via"] = _and_ours(given.getall("Via", ()))
    made["X-Request-Id"] = request_id
    made["Server"] = PSEUDONYM
    return made


def _passed(given: CIMultiDictProxy[str], own: frozenset[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for value in given.getall("Connection", ()) for name in value.split(",")}
    left_out = _OF_A_HOP | own | named
    return CIMultiDict((name, value) for name, value in given.items() if name.lower() not in left_out)


def _said(given: CIMultiDictProxy[str], name: str, hop: Hop) -> str:
    value = given.get(name, "") if hop.is_trusted else ""
    return value if _is_encodable(value) else ""


def _and_ours(before: Sequence[str]) -> str:
    return ", ".join((*map(_readable, before), _VIA))


def _public(address: str, origin: str, base_path: str) -> str:
    if address == origin or address.startswith((origin + "/", origin + "?", origin + "#")):
        address = address[len(origin) :] or "/"
    base_path = base_path.rstrip("/")
    if base_path and (address == base_path or address.startswith(base_path + "/")):
        address = address[len(base_path) :] or "/"
    # Of another host it would be: see RFC 3986, 4.2.
    return "/" + address.lstrip("/") if address.startswith("//") else address


def _readable(value: str) -> str:
    """Bytes that are no UTF-8 (aiohttp keeps them as surrogates) as the Latin-1 that they were meant to be."""
    return value if _is_encodable(value) else value.encode("utf-8", "surrogateescape").decode("latin-1")


def _is_encodable(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
