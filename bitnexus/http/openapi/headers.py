"""The headers of requests and of answers, as components of the document. Pure."""

from __future__ import annotations

from typing import Any, Final

from bitnexus.http.routes import Route

_TAG: Final = r'(?:W/)?"[!#-~]*"'
_TAGS: Final = rf"^(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)$"
#: A quoted key is the same key as a bare one: as the draft of the IETF has it, and as everybody writes it.
_QUOTED_CHAR: Final = r'(?:[!#-\[\]-~]|\\["\\])'
_QUOTED_OR_SPACE: Final = r'(?:[ !#-\[\]-~]|\\["\\])'
_KEY: Final = (
    r"^(?:[!#-~](?:[ -~]{0,253}[!-~])?"
    rf'|"{_QUOTED_CHAR}(?:{_QUOTED_OR_SPACE}{{0,253}}{_QUOTED_CHAR})?")$'
)

#: What requests may have.
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes repeating safe: the same key of the same user is the same command, for ever.",
        "schema": {"type": "string", "pattern": _KEY},
        "example": "order-4711",
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The `ETag` of what is to be changed, or `*` for whatever it is by now.",
        "schema": {"type": "string", "pattern": _TAGS},
        "example": "*",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of what the client has: 304 if it is still so.",
        "schema": {"type": "string", "pattern": _TAGS},
    },
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "A name for this request in logs and answers; one that is not fit for that is replaced.",
        "schema": {"type": "string"},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C Trace Context; its trace id is in every line of the log about this request.",
        "schema": {"type": "string"},
    },
}

#: What answers may have.
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "RequestId": {"description": "The request's id.", "required": True, "schema": {"type": "string"}},
    "RateLimit": {
        "description": 'What is left of the limit: `"user";r=…;t=…`; told from three quarters on.',
        "schema": {"type": "string"},
    },
    "RateLimitPolicy": {
        "description": 'The limit: `"user";q=…;w=…`, so many requests in so many seconds.',
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "ETag": {
        "description": "What `If-Match` and `If-None-Match` are about.",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{_TAG}$"},
    },
    "Link": {"description": 'The next page: `<…>; rel="next"`; none at the end.', "schema": {"type": "string"}},
    "Location": {"description": "Where it can be read.", "required": True, "schema": {"type": "string"}},
    "IdempotentReplayed": {
        "description": "`true`: done before, under this key or id; this is the first answer again.",
        "schema": {"type": "string", "const": "true"},
    },
    "WwwAuthenticate": {"description": "Bearer.", "required": True, "schema": {"type": "string"}},
    "Allow": {"description": "The methods of the path.", "required": True, "schema": {"type": "string"}},
}
_NAMES: Final = {
    "RequestId": "X-Request-Id",
    "RateLimitPolicy": "RateLimit-Policy",
    "RetryAfter": "Retry-After",
    "IdempotentReplayed": "Idempotent-Replayed",
    "WwwAuthenticate": "WWW-Authenticate",
}


def of_request(route: Route) -> list[dict[str, str]]:
    """References to the headers that requests of the route may have."""
    described, names = route.described, ["RequestId", "Traceparent"]
    if described is not None:
        names += ["IdempotencyKey"] if described.idempotent else []
        names += ["IfMatch"] if described.if_match else []
        names += ["IfNoneMatch"] if described.if_none_match else []
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def of_answer(route: Route, status: int) -> dict[str, Any]:
    """The headers that answers of that status may have."""
    described, names = route.described, ["RequestId"]
    if not route.unlimited:
        names += ["RateLimit", "RateLimitPolicy"]
    if described is not None and status < 300:  # noqa: PLR2004 - what went well
        names += ["Location"] if status == 201 else []  # noqa: PLR2004
        tagged = described.tagged or described.if_match or described.if_none_match
        names += ["ETag"] if tagged and described.answers[status] is not None else []
        names += ["Link"] if _is_list(route) else []
        names += ["IdempotentReplayed"] if described.idempotent and status == 200 else []  # noqa: PLR2004
    return _references(names)


def of_problem(route: Route, status: int) -> dict[str, Any]:
    """The headers that errors of that status may have."""
    names = {401: ["WwwAuthenticate"], 405: ["Allow"], 422: ["IdempotentReplayed"]}.get(status, [])
    names = ["RequestId", *names]
    if status in (429, 503):
        names.append("RetryAfter")
    if status == 429:  # noqa: PLR2004
        names += ["RateLimit", "RateLimitPolicy"]
    if status == 422 and not (route.described and route.described.refusals):  # noqa: PLR2004
        names.remove("IdempotentReplayed")
    return _references(names)


def not_modified() -> dict[str, Any]:
    """Those of 304."""
    return _references(["RequestId", "ETag"])


def _references(names: list[str]) -> dict[str, Any]:
    return {_NAMES.get(name, name): {"$ref": f"#/components/headers/{name}"} for name in names}


def _is_list(route: Route) -> bool:
    return route.query is not None and not {"cursor", "after"}.isdisjoint(route.query.model_fields)
