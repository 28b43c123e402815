"""Where webhooks may be sent: a service that calls what others name must not be a way into its own network. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

MAX_URL_CHARS: Final = 2_000
#: Addresses that stand for others (NAT64, 6to4, Teredo): what they lead to is not seen from them.
_TUNNELS: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/32", "2002::/16", "2001::/32")))


def is_public(address: str) -> bool:
    """Whether this IP address is one of the public Internet, and no detour to one that is not."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_multicast or any(ip in network for network in _TUNNELS):
        return False
    return ip.is_global


def literal(host: str) -> str | None:
    """The host, if it is an IP address as it stands in a URL."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def complaint(url: str, *, may_be_private: bool) -> str | None:
    """What is wrong with the address of an endpoint; None if nothing is that can be seen without asking for its name.

    Names are looked up when something is sent, each time: what they lead to may change.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "Must be a URL"
    host = parts.hostname
    plain = all("!" <= char <= "~" for char in url) and len(url) <= MAX_URL_CHARS
    if not plain or parts.scheme not in ("https", "http") or not host or port == 0:
        return "Must be a URL with http or https and a host"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "Must have no user, password or fragment"
    if may_be_private:
        return None
    return _private_complaint(parts.scheme, host)


def _private_complaint(scheme: str, host: str) -> str | None:
    if scheme != "https":
        return "Must be https"
    address = literal(host)
    if host == "localhost" or host.endswith(".localhost") or (address is not None and not is_public(address)):
        return "Must not lead to a private address"
    return None
