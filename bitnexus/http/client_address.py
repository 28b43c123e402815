"""Who is at the other end: the address that limits count against. Pure.

A peer is believed what it says about others (`X-Forwarded-For`) if it is a proxy of ours. An IPv6 address stands for
its /64, which is what one subscriber has.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
_SUBSCRIBER_BITS: Final = 64
#: Proxies in a row; what stands further left was written by strangers.
_MOST_HOPS: Final = 10


def networks(text: str) -> tuple[Network, ...]:
    """The networks in a list with commas; ValueError if one is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_of(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The key of the client: `peer`'s, or that of the last address in `forwarded_for` that no trusted peer has.

    `forwarded_for` are the values of the header, in their order. "" for a peer without an address (a unix socket).
    """
    client = "" if peer is None else peer
    if not trusted or not is_trusted(client, trusted):
        return _key(client)
    said = [part.strip() for value in forwarded_for for part in value.split(",")]
    for address in reversed(said[-_MOST_HOPS:]):
        if _parsed(address) is None:
            break  # whoever wrote that, the one who passed it on is the last that is known
        client = address
        if not is_trusted(address, trusted):
            break
    return _key(client)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether the peer at this address is a proxy of ours."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)


@lru_cache(maxsize=4096)
def _key(address: str) -> str:
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed.packed, _SUBSCRIBER_BITS), strict=False))
    return address if parsed is None else str(parsed)


@lru_cache(maxsize=4096)
def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
