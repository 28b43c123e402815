"""The correlation id of the request that is being worked on: it follows the request through all processes."""

from __future__ import annotations

from contextvars import ContextVar

#: Empty outside of a request. Every log line carries it as `request_id`, every actor message takes it along.
request_id: ContextVar[str] = ContextVar("request_id", default="")
