"""Pages of a list: what a client may ask for, and how a page looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from bitnexus.http.cursors import Cursors
from bitnexus.http.routes import json_bytes
from bitnexus.http.validation import QueryModel

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class PageQuery(QueryModel):
    """``?limit=&cursor=`` of every list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=512)] | None = None


def page(request: web.Request, items: Sequence[Any], *, following: str | None, as_of_seq: int | None) -> web.Response:
    """``{"data": […], "page": {"next": cursor, "has_more": …}, "as_of_seq": …}`` and a `Link` to the next page.

    `following` is the next page's cursor, None at the end. `as_of_seq`: every event up to this one is accounted for.
    """
    body: dict[str, Any] = {"data": items, "page": {"next": following, "has_more": following is not None}}
    if as_of_seq is not None:
        body["as_of_seq"] = as_of_seq
    headers = {}
    if following is not None:
        link = request.rel_url.update_query(cursor=following)
        headers["Link"] = f'<{link.raw_path_qs}>; rel="next"'
    return json_bytes(orjson.dumps(body), headers=headers)


def position_of(cursors: Cursors, cursor: str | None, bound_to: str, *, start: int) -> int:
    """The `seq` where a page begins; `start` without a cursor.

    Raises:
        BadCursor: not of this list.
    """
    if cursor is None:
        return start
    (seq,) = cursors.decode(cursor, bound_to)
    return int(seq)
