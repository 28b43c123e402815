"""The document without a running service: for the command line, and for whoever generates a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from bitnexus.http.app import route_table
from bitnexus.http.openapi.document import document
from bitnexus.http.services import Services


class Nobody:
    """In the place of what serves: the resources keep it, and call no handler. Whatever it is asked for is itself."""

    def __getattr__(self, name: str) -> Nobody:
        return self

    def __getitem__(self, key: object) -> Nobody:
        return self

    def __call__(self, *_: object, **__: object) -> Nobody:  # noqa: D102 - as above
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def whole_document() -> dict[str, Any]:
    """The document of all routes, as JSON types."""
    return document(route_table(cast("Services", Nobody())))
