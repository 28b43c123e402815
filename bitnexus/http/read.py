"""A read of one thing by its id, as the fast path hands it to a route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from yarl import URL

from bitnexus.principal import Principal

QueryT = TypeVar("QueryT")


@dataclass(slots=True)
class Read(Generic[QueryT]):
    """What is asked for by whom: `id` is a UUID in its canonical form, `query` is a validated model."""

    url: URL
    id: str
    principal: Principal
    query: QueryT
