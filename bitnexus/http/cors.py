"""Which pages of other sites may use the API from a browser: those of an exact list of origins. Pure.

The API knows its callers by the `Authorization` header, never by cookies: credentials are not allowed, and a page that
is not on the list learns nothing that anybody else could not. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Final

_MAX_AGE_S: Final = 600
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id, traceparent"
)
_ANSWER_HEADERS: Final = (
    "ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, "
    "WWW-Authenticate, X-Request-Id"
)


def origins(text: str) -> frozenset[str]:
    """The origins in a list with commas."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


class Cors:
    """The answers' headers for pages of `allowed` origins."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def preflight(self, headers: Mapping[str, str]) -> dict[str, str] | None:
        """The headers of the answer (204) to an OPTIONS request; None if it is no preflight of an allowed page."""
        origin = headers.get("Origin")
        if origin not in self._allowed or "Access-Control-Request-Method" not in headers:
            return None
        return {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        }

    def dress(self, origin: str | None, headers: MutableMapping[str, str]) -> None:
        """Let the page of `origin` read the answer with these headers, if it may."""
        vary = headers.get("Vary")
        headers["Vary"] = "Origin" if vary is None else f"{vary}, Origin"
        if origin is not None and origin in self._allowed:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _ANSWER_HEADERS
