"""Which web pages may open a socket: the check of the `Origin` header, with Phoenix's patterns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit


def allowed(origin: str, host: str, patterns: Sequence[str] = ()) -> bool:
    """May a page of `origin` connect? Programs that are no browsers send no Origin and are not asked.

    `host` is the request's Host header: without patterns a page of the same host and port may connect. Patterns are
    `//host`, `//*.host` (any subdomain), with a port, or with a scheme: `https://host:port`.
    """
    page = _split(origin)
    if page is None or not page.hostname or not page.scheme:
        return False  # "null": a sandboxed page or a file
    if not patterns:
        return page.netloc.lower() == host.lower()
    return any(_matches(page, pattern) for pattern in patterns)


def _matches(page: SplitResult, pattern: str) -> bool:
    wanted = _split(pattern)
    if wanted is None or not wanted.hostname:
        return False
    if wanted.scheme and wanted.scheme != page.scheme:
        return False
    if wanted.port is not None and wanted.port != (page.port or {"https": 443, "http": 80}.get(page.scheme)):
        return False
    hostname = page.hostname or ""
    if wanted.hostname.startswith("*."):
        return hostname.endswith(wanted.hostname[1:])
    return hostname == wanted.hostname


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        return None
    return parts
