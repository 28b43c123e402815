"""What the shapes of answers are made of. They describe, and check in tests; the handlers do not go through them."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


def _open(schema: dict[str, Any]) -> None:
    # A client must bear fields that it does not know yet; the tests must not.
    schema.pop("additionalProperties", None)


class Shape(BaseModel):
    """Base of answers: exactly these fields; of those with a default None, any may be absent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=_open)


Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
#: RFC 3339, UTC.
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Hex = Annotated[str, Field(pattern="^(?:[0-9a-f]{2})*$")]
Seq = Annotated[int, Field(ge=0)]
#: The newest event that is accounted for; -1 while there is none.
AsOfSeq = Annotated[int, Field(ge=-1)]
AnyJson = dict[str, Any]


class One(Shape, Generic[T]):
    """One thing."""

    data: T


class AsOf(Shape, Generic[T]):
    """One thing as it was after the event `as_of_seq`."""

    data: T
    as_of_seq: AsOfSeq


class PageInfo(Shape):
    """Where the list goes on: `next` is the next page's cursor, null at the end."""

    next: str | None
    has_more: bool


class Page(Shape, Generic[T]):
    """A page of a list."""

    data: list[T]
    page: PageInfo


class PageAsOf(Page[T], Generic[T]):
    """A page of a list of one moment, which all of its pages show."""

    as_of_seq: AsOfSeq
