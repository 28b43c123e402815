"""The shapes of what operators see and do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bitnexus.http.shapes.base import AnyJson, Shape, Time


class TreeRow(Shape):
    """A supervisor, a worker or a light actor. `cpu` is a share of one core, memory is in bytes."""

    path: str
    kind: Literal["supervisor", "worker", "actor"]
    status: str
    pid: int | None
    uptime_s: float | None
    restarts: int
    restarts_allowed: int | None
    period_s: float | None
    mailbox: int
    memory: int | None
    cpu: float | None
    last_exit: str | None
    last_exit_at: Time | None
    note: str


class State(Shape):
    """A summary of what one process, or light actor, knows."""

    path: str
    state: AnyJson


class Exit(Shape):
    """How a process ended."""

    path: str
    at: Time | None
    reason: str
    uptime_s: float | None
    traceback: str | None


class TracedMessage(Shape):
    """A message: never its content."""

    at: Time | None
    type: str
    sender: str = Field(alias="from")
    size: int
    call: bool


class Trace(Shape):
    """The messages of one process, or light actor."""

    path: str
    messages: list[TracedMessage]


class Step(Shape):
    """What is done, or would be, to which process."""

    action: str
    path: str
    by: str
    pid: int | None
    note: str


class Changed(Shape):
    """What a command did: `begun` and `unfinished` go on by themselves; `id` is null for a dry run."""

    id: str | None
    verb: str
    path: str
    outcome: Literal["done", "nothing", "would", "begun", "unfinished", "failed"]
    detail: str
    warnings: list[str]
    steps: list[Step]


class PartitionsChanged(Shape):
    """What a change of the number of partitions did, or would do."""

    id: str | None
    outcome: Literal["done", "nothing", "would"]
    before: int
    count: int
    slots: int
    seconds: float
    steps: list[Step]


class Command(Shape):
    """An operators' command; `outcome` is null while it is under way, or when nobody lived to say how it ended."""

    id: str
    begun_at: Time | None
    finished_at: Time | None
    operator_id: str
    operator_role: str
    operator_name: str
    entrance: str
    address: str
    verb: str
    path: str
    arguments: AnyJson
    outcome: str | None
    detail: str
    steps: list[dict[str, Any]]
