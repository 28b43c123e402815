"""What can come of a request besides an answer: each as an exception, those of the service with its problem.

try:
    await api.transactions.post(debit=mine, credit=yours, amount=2500)
except Refused as error:
    print(error.problem.code)          # exceeds_credits
except NoAnswer:
    ...                                # whether it was done is not known: repeat it with the same key
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem as the service tells it (RFC 9457). `code` is the name for programs; `errors`: messages by field.

    Of an atomic batch that was refused, `index` is the place of the transfer that was the reason, `results` are all.
    """

    status: int
    code: str
    title: str = ""
    detail: str = ""
    instance: str = ""
    request_id: str = ""
    errors: Mapping[str, list[str]] = field(default_factory=dict)
    pointers: list[Mapping[str, str]] = field(default_factory=list)
    index: int | None = None
    results: list[Mapping[str, Any]] = field(default_factory=list)
    retry_after_s: float = 0.0


class ClientError(Exception):
    """Base of all that this client raises."""


class NoAnswer(ClientError):
    """No answer came until the deadline. What the request asked for may have been done, unless it only reads."""


class NotUnderstood(ClientError):
    """The answer is not of this service, or of another version of it."""


class ApiError(ClientError):
    """The service answered with a problem."""

    def __init__(self, problem: Problem, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail or problem.title}")
        self.problem = problem
        #: The answer as it came, if it was a JSON object.
        self.body = body


class Unauthenticated(ApiError):
    """401: no token, or none that is good any more; the login is wrong."""


class Forbidden(ApiError):
    """403: not for this user."""


class NotFound(ApiError):
    """404: there is no such thing, or it is not this user's to see."""


class Conflict(ApiError):
    """409: it contradicts what is so at present."""


class PreconditionFailed(ApiError):
    """412: the resource has changed since its `etag` was read."""


class InvalidFields(ApiError):
    """422 `invalid_fields`: `problem.errors` says what is wrong with which."""


class Refused(ApiError):
    """422: the ledger refused, for good; `problem.code` says why."""


class TooManyRequests(ApiError):
    """429, until the deadline."""


class Unavailable(ApiError):
    """5xx, until the deadline. Whether what was asked for was done is not known, unless `problem.code` tells."""


_UNPROCESSABLE: Final = 422
_SERVER: Final = 500
_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    422: Refused,
    429: TooManyRequests,
}


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The exception for an answer that tells of a problem, or comes from something on the way that cannot tell."""
    said: Any = None
    if "json" in headers.get("Content-Type", ""):
        try:
            said = msgspec.json.decode(body)
        except msgspec.DecodeError:
            said = None
    body_of = said if isinstance(said, dict) else None
    known = body_of or {}
    given = {**known, "status": status, "code": known.get("code", f"http_{status}")}
    given["retry_after_s"] = _seconds(headers.get("Retry-After", ""))
    try:
        problem = msgspec.convert(given, Problem)
    except msgspec.ValidationError:
        problem = Problem(status=status, code=f"http_{status}", retry_after_s=given["retry_after_s"])
    if status == _UNPROCESSABLE and problem.code == "invalid_fields":
        return InvalidFields(problem, body_of)
    return _BY_STATUS.get(status, Unavailable if status >= _SERVER else ApiError)(problem, body_of)


def _seconds(header: str) -> float:
    return float(header) if header.isdecimal() and len(header) < 9 else 0.0  # noqa: PLR2004 - a number that is one
