"""The errors as the document tells of them: every code there is, and those that an operation may answer with. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bitnexus import errors
from bitnexus.errors import REFUSALS, BitNexusError, every_error
from bitnexus.http.problem import CONTENT_TYPE
from bitnexus.http.routes import Access, Route

#: Told at the start of the service, never by it.
_NEVER_ANSWERED: Final = frozenset({errors.InvalidSettings})
_AT_ANY_TIME: Final = (
    errors.BadRequest,
    errors.RuntimeFault,
    errors.CallTimeout,
    errors.NoProcess,
    errors.ProcessDown,
    errors.Overloaded,
    errors.DatabaseUnavailable,
    errors.BitNexusError,
    errors.UnknownMessage,
)
_OF_USERS: Final = (errors.Quarantined, errors.Moved, errors.TooManyInFlight)
_OF_BODIES: Final = (
    errors.RequestTimedOut,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidFields,
)
#: Said of routes that there are not, and of methods that a route has not.
_OF_NO_ROUTE: Final = (errors.NotFound, errors.MethodNotAllowed)
_PHRASES: Final = {
    400: "The request cannot be understood",
    401: "Who asks is not known",
    403: "Who asks may not",
    404: "There is nothing of the kind for who asks",
    405: "The path has other methods",
    408: "The request did not arrive in time; nothing was done",
    409: "The request contradicts the present state",
    412: "The resource has changed meanwhile; nothing was done",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "A rule forbids it",
    428: "The request must say which version it is about",
    429: "Too many requests; nothing was done",
    500: "A fault of the service",
    503: "It cannot be done just now; what moves money is safe to repeat with the same key",
}


def codes() -> dict[str, tuple[int, str]]:
    """Every code that an answer may have, with its status and what it means: the service's, then the ledger's."""
    own = {code: (error.status, error.title) for code, error in every_error().items() if error not in _NEVER_ANSWERED}
    return own | {code: (refusal.status, refusal.message) for code, refusal in REFUSALS.items()}


def code_schema() -> dict[str, Any]:
    """The schema of `code`: each of them with its meaning."""
    return {
        "title": "ErrorCode",
        "description": "The machine's name of an error. From `accounts_must_be_different` on they are "
        "the ledger's: a transfer that was refused stays refused.",
        "type": "string",
        "oneOf": [
            {"const": code, "title": title, "description": f"Status {status}."}
            for code, (status, title) in codes().items()
        ],
    }


def errors_of(route: Route) -> dict[int, list[str]]:
    """The codes that a route may answer with, by status."""
    described, by_status = route.described, defaultdict[int, list[str]](list)
    for error in _implied(route) | set(described.errors if described else ()):
        by_status[error.status].append(error.code)
    for code in described.refusals if described else ():
        by_status[REFUSALS[code].status].append(code)
    return {status: sorted(by_status[status]) for status in sorted(by_status)}


def _implied(route: Route) -> set[type[BitNexusError]]:
    """By who may call it, by its body, its query and its headers."""
    found: set[type[BitNexusError]] = set(_AT_ANY_TIME)
    described = route.described
    if not route.unlimited:
        found.add(errors.TooManyRequests)
    if route.access is not Access.PUBLIC:
        found |= {errors.Unauthorized, *_OF_USERS}
    if route.access is Access.ADMIN:
        found.add(errors.Forbidden)
    if route.body is not None:
        found.update(_OF_BODIES)
    if route.query is not None or (described is not None and described.idempotent):
        found.add(errors.InvalidFields)
    if described is not None and described.if_match:
        found |= {errors.PreconditionRequired, errors.PreconditionFailed}
    return found


def response(status: int, codes_of_it: Iterable[str], headers: Mapping[str, Any]) -> dict[str, Any]:
    """The response of an operation for a status, with these codes."""
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"status": {"const": status}, "code": {"enum": list(codes_of_it)}}},
        ]
    }
    return {"description": _PHRASES[status], "headers": dict(headers), "content": {CONTENT_TYPE: {"schema": schema}}}


class SharedResponses:
    """Responses that many operations have, once each."""

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}

    def reference(self, status: int, made: dict[str, Any]) -> dict[str, str]:
        """The reference to a response; an equal one is shared."""
        of_status = {name: each for name, each in self.components.items() if name.startswith(f"Error{status}")}
        name = next((name for name, each in of_status.items() if each == made), None)
        if name is None:
            name = f"Error{status}_{len(of_status) + 1}"
            self.components[name] = made
        return {"$ref": f"#/components/responses/{name}"}
