"""The document without a running service: for the command line, and for whoever generates a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from bitnexus.http.app import route_table
from bitnexus.http.openapi.document import document
from bitnexus.http.routes import Route
from bitnexus.http.services import Services


class _Nobody:
    """In the place of what serves: the resources keep it, and call no handler. Whatever it is asked for is itself."""

    def __getattr__(self, name: str) -> _Nobody:
        return self

    def __getitem__(self, key: object) -> _Nobody:
        return self

    def __call__(self, *_: object, **__: object) -> _Nobody:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def all_routes() -> list[Route]:
    """The routes that a front would serve with these settings, to be looked at."""
    return route_table(cast("Services", _Nobody()))


def whole_document() -> dict[str, Any]:
    """The document of all routes, as JSON types."""
    return document(all_routes())
