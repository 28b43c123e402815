"""The OpenAPI 3.1 document of a route table: what is served is what it describes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from bitnexus import __version__
from bitnexus.http.described import Media
from bitnexus.http.openapi import json_values
from bitnexus.http.openapi.headers import HEADERS, PARAMETERS
from bitnexus.http.openapi.json_values import with_references
from bitnexus.http.openapi.operations import BEARER, operation, operation_id, tag_of, template
from bitnexus.http.openapi.problems import SharedResponses, code_schema
from bitnexus.http.routes import Route
from bitnexus.http.shapes.system import Problem

_SCHEMA_AT: Final = "#/components/schemas/{model}"
_ABOUT: Final = """A money service: double-entry accounts, transfers, a shop in the same books, a verifiable log.

Bodies are wrapped in the resource's name, answers in `data`. Amounts are integers in minor units of an asset such as
`USD/2`. Errors are `application/problem+json`; `code` is what programs look at. Every POST that moves money takes an
`Idempotency-Key`: with it repeating is safe, whatever happened to the first answer. Lists are paged by opaque cursors.
HEAD is answered wherever GET is."""
_TAGS: Final = {
    "auth": "Registration; sessions: login, refresh, logout.",
    "users": "Oneself; any user for an admin.",
    "accounts": "Accounts, their balances and histories.",
    "transactions": "Transfers: plain, pending, reversals; batches; proofs.",
    "products": "What the shop sells, and buying it.",
    "notifications": "What a user was told, and what of it is read.",
    "ledger": "The log's checkpoints, tiles and proofs; the books.",
    "admin": "The operators' commands on the running node, and their audit.",
    "system": "Health, metrics, this document.",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document, as JSON types."""
    schemas, shared = _Schemas(routes), SharedResponses()
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes:
        paths[template(route.path)][route.method.lower()] = operation(route, schemas.of, shared)
    _link(paths, routes)
    used = {tag_of(route.path) for route in routes}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "BitNexus",
            "version": __version__,
            "summary": "Accounts, transfers, purchases, proofs",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "Where this document came from"}],
        "tags": [{"name": name, "description": _TAGS.get(name, name)} for name in sorted(used, key=_tag_order)],
        "paths": dict(paths),
        "components": {
            "schemas": {**schemas.components, **json_values.COMPONENTS, "ErrorCode": code_schema()},
            "responses": shared.components,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `access_token` of a login; it has the user's role: `user`, `service`, `admin`.",
                }
            },
        },
    }


def _tag_order(name: str) -> tuple[int, str]:
    known = list(_TAGS)
    return known.index(name) if name in known else len(known), name


class _Schemas:
    """The schemas of all bodies and answers; those of models stand among the components."""

    def __init__(self, routes: Iterable[Route]) -> None:
        shapes: dict[int, Any] = {id(Problem): Problem}
        for route in routes:
            for shape in (route.body, *(route.described.answers.values() if route.described else ())):
                if shape is not None and not isinstance(shape, Media):
                    shapes.setdefault(id(shape), shape)
        mode: Literal["validation"] = "validation"
        adapters = [(key, mode, TypeAdapter[Any](shape)) for key, shape in shapes.items()]
        made, common = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMA_AT)
        self._made = {key: schema for (key, _), schema in made.items()}
        self._kept = shapes  # an id is one as long as its object lives
        self.components: dict[str, Any] = with_references(dict(sorted(common.get("$defs", {}).items())))
        problem = self.components["Problem"]["properties"]
        problem["code"] = {"$ref": "#/components/schemas/ErrorCode"}

    def of(self, shape: object) -> dict[str, Any]:
        """The schema of one of the shapes, mostly a reference."""
        return self._made[id(shape)]


def _link(paths: dict[str, dict[str, Any]], routes: Sequence[Route]) -> None:
    """From what makes a thing to what can be done with it."""
    for route in routes:
        described, one = route.described, f"{route.path}/{{id}}"
        if route.method != "POST" or described is None or 201 not in described.answers:  # noqa: PLR2004 - made
            continue
        links = {}
        for other in routes:
            path = template(other.path)
            if path == one or path.startswith(one + "/"):
                parameters = {"id": "$response.body#/data/id"}
                if other.described is not None and other.described.if_match and described.tagged:
                    parameters["If-Match"] = "$response.header.ETag"
                links[operation_id(other)] = {"operationId": operation_id(other), "parameters": parameters}
        if links:
            for status in described.answers:
                paths[template(route.path)]["post"]["responses"][str(status)]["links"] = links
