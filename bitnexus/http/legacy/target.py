"""Which paths may be passed on, and what route they are of. Pure.

What two services would read differently is passed on to neither: ``.`` and ``..``, empty segments, encoded slashes. A
client could reach by such a spelling what is this service's own by now, or leave the old service's base path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from bitnexus.errors import BadRequest

#: The characters of a path's segment (RFC 3986, 3.3), and those of a request line's query.
_PATH: Final = re.compile(r"/(?:(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+(?:/|$))*")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUERY: Final = re.compile(r"[\x21\x22\x24-\x7e]*")
_NOT_IN_SEGMENTS: Final = re.compile(rb"[\x00-\x1f\x7f/\\]")
MAX_CHARS: Final = 8000
#: Parts of a path that tell one thing from another of its kind, and stand for a route all the same.
_ID: Final = re.compile(r"[0-9]+|[0-9a-fA-F-]{16,}|(?=.*[0-9])[A-Za-z0-9_.~-]{16,}|.{41,}|.*[^A-Za-z0-9_.~-].*")
_MOST_SEGMENTS: Final = 8


def segments_of(raw_path: str) -> tuple[str, ...] | None:
    """The decoded segments of a path; None if it could be read in two ways. A slash at the end counts for nothing."""
    if len(raw_path) > MAX_CHARS or not _PATH.fullmatch(raw_path):
        return None
    decoded = [
        _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), part.encode())
        for part in raw_path.removesuffix("/").split("/")[1:]
    ]
    if any(part in {b".", b".."} or _NOT_IN_SEGMENTS.search(part) for part in decoded):
        return None
    return tuple(part.decode(errors="replace") for part in decoded)


def check_query(raw_query: str) -> None:
    """Nothing, if that may stand in a request line.

    Raises:
        BadRequest: it may not.
    """
    if len(raw_query) > MAX_CHARS or not _QUERY.fullmatch(raw_query):
        raise BadRequest("The query is malformed")


def template_of(segments: Sequence[str]) -> str:
    """A name for the route that a path is of: what looks like an id is ``{id}``, what lies too deep is left out."""
    shown = ["{id}" if _ID.fullmatch(part) else part for part in segments[:_MOST_SEGMENTS]]
    return "/" + "/".join(shown) + ("/*" if len(segments) > _MOST_SEGMENTS else "")
