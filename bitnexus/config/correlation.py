"""The correlation id of the request that is being worked on: it follows the request through all processes.

It is the request's id; when the request belongs to a trace of another id, that stands behind it, after a slash.
"""

from __future__ import annotations

from contextvars import ContextVar

#: Empty outside of a request. Every log line shows it (see `fields`), every actor message takes it along.
request_id: ContextVar[str] = ContextVar("request_id", default="")


def fields(correlation: str) -> dict[str, str]:
    """What log lines show of it: `request_id`, and `trace_id` if it names one."""
    request, _, trace = correlation.partition("/")
    return {"request_id": request, "trace_id": trace} if trace else {"request_id": request}
