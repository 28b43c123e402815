"""Which routes the old service still answers: the value of `LEGACY_ROUTES`, read and matched. Pure.

    POST /api/v1/transactions, /api/v1/reports/*, GET /api/v1/accounts/{id}

A route is a path, of every method or of the one before it. ``{name}`` stands for one segment, ``*`` at the end for
whatever follows, nothing included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST_ROUTES: Final = 200
ANY_METHOD: Final = "*"
_SEGMENT: Final = r"(?:[A-Za-z0-9._~!$&'()+;=:@-]+|\{[a-z_]+\})"
_ROUTE: Final = re.compile(rf"(?:(?P<method>[A-Z]+) +)?(?P<path>/|(?:/{_SEGMENT})+(?:/\*)?|/\*)")
_REST: Final = "*"


@dataclass(frozen=True, slots=True)
class LegacyRoute:
    """A route: `method` or :data:`ANY_METHOD`, and its path's segments; None for any one. `rest`: and what follows."""

    method: str
    path: str
    segments: tuple[str | None, ...]
    rest: bool

    @property
    def label(self) -> str:
        """What stands in metrics for it."""
        return self.path

    def matches(self, method: str, segments: Sequence[str]) -> bool:
        """Whether a request for the path of these (decoded) segments is one for this route."""
        if self.method not in {ANY_METHOD, method} and not (method == "HEAD" and self.method == "GET"):
            return False
        known = len(self.segments)
        if len(segments) != known and not (self.rest and len(segments) > known):
            return False
        return all(own is None or own == given for own, given in zip(self.segments, segments, strict=False))


def parse(text: str) -> tuple[LegacyRoute, ...]:
    """The routes in a list with commas.

    Raises:
        ValueError: one is none; the message names its form, never the value.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_ROUTES:
        message = f"must be at most {MOST_ROUTES} routes"
        raise ValueError(message)
    return tuple(_route(part) for part in parts)


def _route(text: str) -> LegacyRoute:
    found = _ROUTE.fullmatch(text)
    method = found["method"] if found else None
    if found is None or (method is not None and method not in METHODS):
        message = "must be routes with commas between them, as in POST /api/v1/reports, /api/v1/old/*, GET /files/{id}"
        raise ValueError(message)
    path = found["path"]
    parts = path.split("/")[1:] if path != "/" else []
    if any(part in {".", ".."} for part in parts):
        message = "must not have . or .. in its paths"
        raise ValueError(message)
    rest = bool(parts) and parts[-1] == _REST
    segments = tuple(None if part.startswith("{") else part for part in (parts[:-1] if rest else parts))
    return LegacyRoute(method or ANY_METHOD, path, segments, rest)
