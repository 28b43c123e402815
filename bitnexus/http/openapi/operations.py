"""One route as an operation of the document: parameters, body, answers, who may. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from bitnexus.http.described import Media
from bitnexus.http.openapi import headers
from bitnexus.http.openapi.problems import SharedResponses, errors_of, response
from bitnexus.http.routes import JSON_TYPE, MAX_BODY_BYTES, Access, Route

#: Gives the schema, or the reference to it, of a type.
Schemas = Callable[[Any], dict[str, Any]]
BEARER: Final = "bearer"
_UUID: Final = {"type": "string", "format": "uuid"}
_VARIABLE: Final = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")  # its pattern may have such braces
_PATH_PARAMETERS: Final[Mapping[str, dict[str, Any]]] = {
    "id": _UUID,
    "level": {"type": "string", "pattern": "^[0-7]$"},
    "tile": {"type": "string", "pattern": r"^(?:x[0-9]{3}/){0,6}[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?$"},
    "asset": {"type": "string", "pattern": r"^[a-z]+-[0-9a-f]{12}\.(?:js|css)$"},
}
_WHO: Final = {
    Access.PUBLIC: "anybody",
    Access.USER: "any user, for what is their own",
    Access.ADMIN: "admins",
}
_PREFIX: Final = "/api/v1/"
_SYSTEM: Final = "system"


def template(path: str) -> str:
    """The path as the document has it: without the patterns of the router's variables."""
    return _VARIABLE.sub(r"{\1}", path)


def tag_of(path: str) -> str:
    """The resource to which a path belongs."""
    return path.removeprefix(_PREFIX).partition("/")[0] if path.startswith(_PREFIX) else _SYSTEM


def operation_id(route: Route) -> str:
    """The operation's name: its method and the words of its path."""
    words = re.findall(r"[A-Za-z0-9]+", template(route.path).removeprefix(_PREFIX))
    return "_".join([route.method.lower(), *words])


def operation(route: Route, schemas: Schemas, shared: SharedResponses) -> dict[str, Any]:
    """The operation object of a route."""
    made: dict[str, Any] = {
        "operationId": operation_id(route),
        "tags": [tag_of(route.path)],
        "summary": route.summary,
        "description": f"{_text(route.handler)}\n\nWho may: {_WHO[route.access]}.".lstrip(),
        "parameters": [*_in_path(route), *_in_query(route), *headers.of_request(route)],
        "responses": _responses(route, schemas, shared),
        "security": _security(route),
    }
    if route.body is not None:
        made["requestBody"] = _body(route, schemas)
    return made


def _text(handler: Callable[..., Any]) -> str:
    """The handler's docstring without what it raises: that stands among the answers."""
    function = handler.func if isinstance(handler, partial) else handler
    said = inspect.getdoc(function) or ""
    said = said.partition("\nRaises:")[0].strip()
    said = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", said)
    return said.replace("``", "`")


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access is Access.PUBLIC:
        either = route.described is not None and route.described.either_token
        return [{}, {BEARER: []}] if either else []
    return [{BEARER: ["admin"] if route.access is Access.ADMIN else []}]


def _in_path(route: Route) -> list[dict[str, Any]]:
    found = []
    for name in _VARIABLE.findall(route.path):
        schema = _PATH_PARAMETERS.get(name, {"type": "string"})
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    required = schema.get("required", [])
    found = []
    for name, described in schema.get("properties", {}).items():
        shown = {key: value for key, value in _not_null(described).items() if key != "title"}
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in required, "schema": shown}
        if "description" in shown:
            parameter["description"] = shown.pop("description")
        found.append(parameter)
    return found


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the null of what may be left out: no query can have it."""
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and not (key == "default" and value is None)}
    if not choices:
        return rest
    return {**choices[0], **rest} if len(choices) == 1 else {"anyOf": choices, **rest}


def _body(route: Route, schemas: Schemas) -> dict[str, Any]:
    described = route.described
    content: dict[str, Any] = {"schema": schemas(route.body)}
    if described is not None and described.example is not None:
        content["examples"] = {"example": {"value": described.example}}
    made: dict[str, Any] = {"required": not route.bodiless, "content": {JSON_TYPE: content}}
    if route.body_bytes != MAX_BODY_BYTES:
        made["description"] = f"At most {route.body_bytes:,} bytes."
    return made


def _responses(route: Route, schemas: Schemas, shared: SharedResponses) -> dict[str, Any]:
    found: dict[int, Any] = {}
    described = route.described
    for status, shape in (described.answers if described else {200: None}).items():
        found[status] = {"description": route.summary, "headers": headers.of_answer(route, status)}
        if isinstance(shape, Media):
            found[status]["content"] = {shape.type: {"schema": {"type": "string"}}}
        elif shape is not None:
            found[status]["content"] = {JSON_TYPE: {"schema": schemas(shape)}}
    if described is not None and described.if_none_match:
        found[304] = {"description": "It is as the client has it", "headers": headers.not_modified()}
    for status, codes in errors_of(route).items():
        problem = response(status, codes, headers.of_problem(route, status))
        if status in found:  # of a health check that tells it in its own form
            problem["content"] |= found[status]["content"]
            found[status] = problem
        else:
            found[status] = shared.reference(status, problem)
    return {str(status): found[status] for status in sorted(found)}
