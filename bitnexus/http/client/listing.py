"""Lists that come in pages, as one asynchronous iterator: a page is asked for when its first item is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bitnexus.http.client.problems import NotUnderstood
from bitnexus.http.client.transport import Request, Transport, convert

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. `next` is the cursor of the one after it; `as_of_seq`: every event up to this one is accounted for.

    `body` is the whole answer.
    """

    items: list[T]
    next: str | None
    as_of_seq: int | None
    body: Mapping[str, Any]


class Listing(Generic[T]):
    """A list: ``async for item in listing``, or ``async for page in listing.pages()``. Each loop begins anew."""

    def __init__(self, transport: Transport, path: str, kind: type[T], query: Mapping[str, str | int]) -> None:
        self._transport = transport
        self._path = path
        self._kind = kind
        self._query = query

    async def page(self, cursor: str | None = None) -> Page[T]:
        """The page at a cursor; the first one without."""
        query = {**self._query, **({} if cursor is None else {"cursor": cursor})}
        answer = await self._transport.send(Request(method="GET", path=self._path, query=query, is_safe=True))
        body = answer.json()
        try:
            items, following = body["data"], body["page"]["next"]
        except (KeyError, TypeError) as error:
            raise NotUnderstood("The answer is no page of a list") from error
        return Page(convert(items, list[self._kind]), following, body.get("as_of_seq"), body)  # type: ignore[name-defined]

    async def pages(self) -> AsyncIterator[Page[T]]:
        """All pages, from the first."""
        cursor: str | None = None
        while True:
            found = await self.page(cursor)
            yield found
            if found.next is None:
                return
            cursor = found.next

    async def __aiter__(self) -> AsyncIterator[T]:
        async for found in self.pages():
            for item in found.items:
                yield item
