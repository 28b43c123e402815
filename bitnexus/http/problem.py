"""Errors as `application/problem+json` (RFC 9457). Pure: never a traceback, nothing that is not meant to be shown."""

from __future__ import annotations

from typing import Any, Final

import orjson

from bitnexus.errors import (
    REFUSALS,
    BatchRefused,
    BitNexusError,
    InvalidFields,
    MethodNotAllowed,
    Refused,
    TooManyRequests,
    Unauthorized,
)

CONTENT_TYPE: Final = "application/problem+json"


def problem(error: BitNexusError, *, instance: str, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers that tell a client about `error`.

    `instance` is the path of the request. `code` is the machine's name of the error; the ledger's refusal codes stand
    there as they are. Fields that break rules appear twice: under `errors`, by name, as forms want them, and under
    `pointers` as RFC 9457 has them. Of an atomic batch, `index` is the place of the transfer that was refused, and
    `results` are all.
    """
    code, status = error.code, error.status
    headers = {"Content-Type": CONTENT_TYPE}
    if isinstance(error, Refused):
        code, status = error.refusal, REFUSALS[error.refusal].status
        if error.replayed:
            headers["Idempotent-Replayed"] = "true"
    body: dict[str, Any] = {
        "type": f"/docs/errors#{code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
    }
    if isinstance(error, InvalidFields):
        body["errors"] = error.by_field()
        body["pointers"] = [{"pointer": item.pointer, "detail": item.message} for item in error.violations]
    if isinstance(error, BatchRefused):
        body["index"], body["results"] = error.index, error.results
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allow))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="bitnexus"'
    if isinstance(error, TooManyRequests):
        headers |= error.headers
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return status, orjson.dumps(body), headers
