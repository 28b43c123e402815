"""What the description of a route says beside what serves it: the shapes of its answers, its errors, its headers. Pure.

Nothing of this is looked at while a request is served: :mod:`bitnexus.http.openapi` makes the document of it, and the
tests hold real answers against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bitnexus.errors import REFUSALS, BitNexusError

_OF_THE_SHOP: Final = frozenset({"insufficient_funds", "out_of_stock"})
#: What the ledger may say to any transfer.
LEDGER: Final = frozenset(REFUSALS) - _OF_THE_SHOP
SHOP: Final = frozenset(REFUSALS)


@dataclass(frozen=True, slots=True)
class Media:
    """An answer that is not JSON: its type; `binary` if it is no text."""

    type: str
    binary: bool = False
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """The answers of a route by status: a type that pydantic knows, :class:`Media`, or None for no body.

    `errors`: those that the route's access, body and query do not imply already; `refusals`: the codes by which the
    ledger may refuse it. `idempotent`: it takes an Idempotency-Key, and tells of replays. `if_match`: it must be told
    which version it is about. `if_none_match`: it spares the client what it has. `tagged`: its answers have an ETag.
    `either_token`: a token is taken, but need not be. `example`: a body that could be sent.
    """

    answers: Mapping[int, Any]
    errors: tuple[type[BitNexusError], ...] = ()
    refusals: frozenset[str] = field(default=frozenset())
    idempotent: bool = False
    if_match: bool = False
    if_none_match: bool = False
    tagged: bool = False
    either_token: bool = False
    example: Mapping[str, Any] | None = None
