"""The shapes of what the service says of itself, and of every error."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bitnexus.http.shapes.base import AnyJson, Shape, Time
from bitnexus.http.shapes.transactions import Accepted, Rejected


class Health(Shape):
    """The state of the service."""

    status: Literal["healthy", "unhealthy"]
    timestamp: Time
    database: Literal["connected", "disconnected"]
    ledger: Literal["running", "absent"]
    version: str


class Live(Shape):
    """This front runs."""

    status: Literal["live"]


class Ready(Shape):
    """Whether transfers can be made."""

    status: Literal["ready", "not_ready"]


class Pointer(Shape):
    """A broken rule: where (RFC 6901; `#/query/…` and `#/header/…` beside the body), and what."""

    pointer: str
    detail: str


class Problem(Shape):
    """An error (RFC 9457). `code` is its machine's name, `errors` are the broken rules by field.

    Of an atomic batch `index` is the place of the transfer that was refused, `results` are all of them.
    """

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str
    code: str
    request_id: str
    errors: dict[str, list[str]] | None = None
    pointers: list[Pointer] | None = None
    index: int | None = None
    results: list[Accepted | Rejected] | None = None


Document = AnyJson
