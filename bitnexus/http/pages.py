"""Pages of a list: what a client may ask for, where a page begins, and how it looks.

A list of the ledger's entries is as of one event, the newest when its first page was read: cursors carry it on. What is
written later is in none of its pages: joined, they are what the ledger held after `as_of_seq`, and from there a client
goes on. In other lists `as_of_seq` is the page's own: that of the balances it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from aiohttp import web
from pydantic import Field
from yarl import URL

from bitnexus.errors import BadCursor
from bitnexus.http.cursors import Cursors
from bitnexus.http.fast_path import Answer
from bitnexus.http.routes import JSON_TYPE, json_bytes
from bitnexus.http.validation import QueryModel

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class PageQuery(QueryModel):
    """``?limit=&cursor=`` of every list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=512)] | None = None


def page(request: web.Request, items: Sequence[Any], *, following: str | None, as_of_seq: int | None) -> web.Response:
    """See :func:`page_answer`."""
    _, body, headers = page_answer(request.rel_url, items, following=following, as_of_seq=as_of_seq)
    return json_bytes(body, headers=headers)


def page_answer(url: URL, items: Sequence[Any], *, following: str | None, as_of_seq: int | None) -> Answer:
    """``{"data": […], "page": {"next": cursor, "has_more": …}, "as_of_seq": …}`` and a `Link` to the next page.

    `following` is the next page's cursor, None at the end. `as_of_seq`: every event up to this one is accounted for.
    """
    body: dict[str, Any] = {"data": items, "page": {"next": following, "has_more": following is not None}}
    if as_of_seq is not None:
        body["as_of_seq"] = as_of_seq
    return 200, orjson.dumps(body), {"Content-Type": JSON_TYPE, **next_link(url, following)}


def as_of(value: object, as_of_seq: int) -> web.Response:
    """``{"data": …, "as_of_seq": …}``: one thing as it was after that event."""
    return json_bytes(orjson.dumps({"data": value, "as_of_seq": as_of_seq}))


def next_link(url: URL, following: str | None) -> dict[str, str]:
    """The `Link` header to the next page; nothing at the list's end."""
    if following is None:
        return {}
    link = url.update_query(cursor=following)
    return {"Link": f'<{link.raw_path_qs}>; rel="next"'}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind the item at `position`; and as of which event its list is."""

    position: int | str
    as_of_seq: int


def place_of(cursors: Cursors, cursor: str | None, bound_to: str) -> Place | None:
    """The place that a cursor means; None without a cursor: the list begins.

    Raises:
        BadCursor: not of this list.
    """
    if cursor is None:
        return None
    position = cursors.decode(cursor, bound_to)
    if len(position) != len(Place.__slots__):
        raise BadCursor  # of an earlier version
    return Place(position[0], int(position[1]))


def one_page(found: Sequence[T], limit: int, place: Callable[[T], Place]) -> tuple[Sequence[T], Place | None]:
    """The page's items out of `found`, which has one more if the list goes on, and then where the next page begins.

    `place` tells where the page begins that follows an item.
    """
    shown = found[:limit]
    return shown, place(shown[-1]) if len(found) > len(shown) else None


def cursor_of(cursors: Cursors, place: Place | None, bound_to: str) -> str | None:
    """The cursor of the page that begins there; None at the list's end."""
    return None if place is None else cursors.encode([place.position, place.as_of_seq], bound_to)
