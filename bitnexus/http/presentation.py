"""How answers travel: large ones compressed, pages with the headers that keep browsers from being used against them."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Final

from aiohttp import web

#: Of every answer; the server's name does not tell which libraries of which versions.
STATIC_HEADERS: Final = (("Server", "bitnexus"), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
#: Below that, the packet that is saved is not worth the compression.
COMPRESSED_FROM_BYTES: Final = 4096
#: Of every answer that would be compressed for who accepts that.
VARY: Final = {"Vary": "Accept-Encoding"}
_TEXT: Final = re.compile(r"text/|application/(?:[a-z.-]+\+)?json\b")
_ACCEPTED: Final = re.compile(r"(?i:x-)?(?P<coding>(?i:gzip)|\*)\s*(?:;\s*(?i:q)\s*=\s*(?P<quality>[0-9.]{1,5})\s*)?")
#: A page that needs more sets its own Content-Security-Policy.
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def compress(request: web.BaseRequest, response: web.Response) -> None:
    """Have a large text compressed, if the client takes that; aiohttp does it in a thread.

    What has an ETag is left alone: that stands for exactly these bytes.
    """
    headers = response.headers
    if not _TEXT.match(headers.get("Content-Type", "")) or "Content-Encoding" in headers or "ETag" in headers:
        return
    headers.update(VARY)
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header's value allows gzip (RFC 9110, 12.5.3); by its own name, or as one of any."""
    found: dict[str, bool] = {}
    for part in accept_encoding.split(","):
        match = _ACCEPTED.fullmatch(part.strip())
        if match:
            found[match["coding"].lower()] = match["quality"] is None or match["quality"].strip("0.") != ""
    return found.get("gzip", found.get("*", False))


def protect_page(headers: MutableMapping[str, str]) -> None:
    """Add to a page's headers what it does not set itself; to those of other answers nothing."""
    if headers.get("Content-Type", "").startswith("text/html"):
        for name, value in PAGE_HEADERS.items():
            headers.setdefault(name, value)
