"""Reads of one thing by its id on the fast path: which of them may take it, and how they are begun.

Conditional ones, and those whose answers may have to be compressed, take the usual way, as whatever is out of the
ordinary does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter
from yarl import URL

from bitnexus.errors import BadRequest, BitNexusError
from bitnexus.http.fast_path import Answer, Begin, Finish, Found, Headers
from bitnexus.http.limits import LIMITED_ROLE, Limits
from bitnexus.http.presentation import COMPRESSED_FROM_BYTES, VARY, accepts_gzip
from bitnexus.http.read import Read
from bitnexus.http.routes import Access, Route, authenticate, telling
from bitnexus.http.validation import validate_query
from bitnexus.tokens import AccessTokens

_ID: Final = "{id}"
#: Plain segments around one UUID in its canonical form; what the query holds is the route's matter.
_PATH: Final = re.compile(
    r"((?:/[a-z0-9]+)+/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})((?:/[a-z0-9]+)*)(?:\?[!-~]*)?", re.ASCII
)
#: Begins the read of what has this id.
Located: TypeAlias = Callable[[URL, str], Begin]


class ReadsById:
    """The routes that take it, by their canonical paths."""

    def __init__(self) -> None:
        self._routes: dict[str, Located] = {}

    def add(self, canonical: str, located: Located) -> None:
        """A route with one ``{id}`` in its path."""
        assert canonical.count("{") == 1
        assert _ID in canonical
        self._routes[canonical] = located

    def find(self, message: Any) -> Found | None:  # noqa: ANN401 - aiohttp's, without public names
        """The route that a parsed GET is for, if there is one."""
        match = _PATH.fullmatch(message.path)
        if match is None:
            return None
        before, id_, after = match.groups()
        route = f"{before}{_ID}{after}"
        located = self._routes.get(route)
        return None if located is None else (route, f"{before}{id_}{after}", located(message.url, id_))


def located(route: Route, tokens: AccessTokens, limits: Limits, bounded: Callable[[Begin], Begin]) -> Located:
    """What the fast path begins reads of a route with, in the same order as `endpoint`; see there and `immediate`.

    `bounded` keeps each of them within what the front takes on.
    """
    begin, throttle = route.begin_read, limits.users
    assert begin is not None
    assert route.access is Access.USER
    assert route.body is None
    query_of = TypeAdapter[Any](route.query) if route.query else None
    is_tagged = route.described is not None and route.described.if_none_match

    def at(url: URL, id_: str) -> Begin:
        def begin_read(headers: Headers, body: bytes, finish: Finish) -> None:
            if body or "If-None-Match" in headers:
                raise BadRequest
            if not is_tagged:
                if accepts_gzip(headers.get("Accept-Encoding", "")):
                    raise BadRequest
                finish = _uncompressed(finish)
            principal = authenticate(tokens, headers)
            query = validate_query(query_of, url.query) if query_of else None
            if throttle is not None and principal.role == LIMITED_ROLE:
                used_s = throttle.take(principal.user_id)
                if used_s > throttle.told_from_s:
                    finish = telling(throttle, used_s, finish)
            begin(Read(url, id_, principal, query), finish)

        return bounded(begin_read)

    return at


def _uncompressed(finish: Finish) -> Finish:
    """`finish`, for who would be answered otherwise with another Accept-Encoding, if the answer is large."""

    def present(answer: Answer | BitNexusError) -> None:
        if not isinstance(answer, BitNexusError) and len(answer[1]) >= COMPRESSED_FROM_BYTES:
            status, body, headers = answer
            answer = status, body, {**headers, **VARY}
        finish(answer)

    return present
