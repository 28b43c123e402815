"""What a supervisor machine is told (events) and what it wants done (effects).

The contract of a driver:

- Each :class:`Start` effect is answered once, by :class:`ChildStarted`, :class:`ChildIgnored` or
  :class:`ChildStartFailed`. A child that dies before it is up is a failed start, not an exit.
- After :class:`ChildStarted`, the end of that pid is told once by :class:`ChildExited`, whoever caused it.
- :class:`ChildHung` and :class:`ChildTooLarge` are told of a child that is up; they lead to a :class:`Stop`.
- A :class:`Stop` with a pid leads to its :class:`ChildExited`. A :class:`Stop` with ``pid=None`` gives up the start
  under way: the answer to that start comes all the same (:class:`ChildStartFailed` with reason ``aborted``, or
  whatever had happened already).
- A :class:`SetTimer` is answered by :class:`TimerFired` not before ``after_s``, even if that is 0: never from within
  ``handle``, so that other messages get their turn. A late fire of a cancelled timer does no harm.
- Effects are carried out in the order given. After :class:`Exit` the machine wants nothing more.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.supervision.spec import ChildSpec, ChildType

#: Whatever the driver calls a child that runs; it is compared and given back, nothing else.
Pid: TypeAlias = Hashable
#: Whatever the driver needs to answer the caller of an operation.
Ref: TypeAlias = Hashable

How = Literal["shutdown", "kill"]
ReportKind = Literal[
    "progress",  # a child is up
    "child_terminated",  # a child died by itself; context: what follows (restart, keep, delete)
    "start_error",  # a child did not start; context: on whose behalf
    "shutdown_error",  # a child that had to stop ended otherwise than asked; context: how it was asked
    "replaced",  # a child is stopped to be started again; reason: hung or max_rss; context: how it is asked
    "quarantined",  # a dynamic child is over its own budget and set aside; context: for how many seconds
    "released",  # a dynamic child may run again; context: by its timer or by an operator
    "shutdown",  # the supervisor gives up; context: reached_max_restart_intensity
    "unexpected",  # an event that no child waits for (a fault of the driver); context: the event's name
]
ErrorCode = Literal[
    "already_started",  # detail: the pid
    "already_present",
    "running",
    "restarting",
    "not_found",
    "start_failed",  # detail: the ExitReason
    "terminated",  # the start was cancelled by terminate_child
    "bad_combination",  # detail: the SpecError
    "max_children",  # a dynamic supervisor is full
    "quarantined",  # detail: the seconds until it is released
    "not_quarantined",
    "shutdown",  # the supervisor is stopping
    "noproc",  # the supervisor has stopped
]


# -- events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the supervisor: the first event, once."""


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The child is up."""

    id: str
    pid: Pid


@dataclass(frozen=True, slots=True)
class ChildIgnored:
    """The child's start decided that there is nothing to run."""

    id: str


@dataclass(frozen=True, slots=True)
class ChildStartFailed:
    """The child did not come up; nothing of it is left."""

    id: str
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class ChildExited:
    """A child that was up has ended."""

    id: str
    pid: Pid
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class ChildHung:
    """A child that is up has given no sign of life for longer than it may: it is killed, reason ``hung``."""

    id: str
    pid: Pid


@dataclass(frozen=True, slots=True)
class ChildTooLarge:
    """A child that is up has outgrown ``max_rss``: it is asked to stop, reason ``max_rss``, and started again."""

    id: str
    pid: Pid


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of a SetTimer is over."""

    token: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop all children in reverse order, then exit with this reason. The first one counts."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class StartChild:
    """Operator: add a child and start it."""

    spec: ChildSpec
    ref: Ref


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Operator: start a child that is stopped."""

    id: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Operator: forget a child that is stopped."""

    id: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Operator: stop a child, or cancel its start or restart; its spec is kept unless it is temporary."""

    id: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class StartDynamicChild:
    """Operator: start a child of a dynamic supervisor; without a spec of its own it has the supervisor's template.

    The id is the child's; the one in the spec names the kind of child, and may be shared by many.
    """

    id: str
    ref: Ref
    spec: ChildSpec | None = None


@dataclass(frozen=True, slots=True)
class ReleaseChild:
    """Operator: end the quarantine of a dynamic child now."""

    id: str
    ref: Ref


OfChild: TypeAlias = ChildStarted | ChildIgnored | ChildStartFailed | ChildExited | ChildHung | ChildTooLarge
Operation: TypeAlias = StartChild | RestartChild | DeleteChild | TerminateChild
DynamicOperation: TypeAlias = StartDynamicChild | TerminateChild | ReleaseChild
#: What a static supervisor is told.
Event: TypeAlias = Begin | OfChild | TimerFired | Shutdown | Operation
#: What a dynamic supervisor is told; it has no first children to start, and so no Begin.
DynamicEvent: TypeAlias = OfChild | TimerFired | Shutdown | DynamicOperation


# -- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start this child."""

    id: str
    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class Stop:
    """End this child: ask it (``shutdown``) or ``kill`` it; ``pid=None`` is the start under way."""

    id: str
    pid: Pid | None
    how: How


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Tell TimerFired(token) after this many seconds."""

    token: int
    after_s: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """This timer is no longer wanted."""

    token: int


@dataclass(frozen=True, slots=True)
class Report:
    """Something for the log; ``reason`` is None for ``progress``."""

    kind: ReportKind
    child: str
    pid: Pid | None
    reason: ExitReason | None
    context: str


@dataclass(frozen=True, slots=True)
class Ok:
    """The operation succeeded; ``pid`` for one that started a child, None if the start was ignored."""

    pid: Pid | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """The operation was refused or failed."""

    code: ErrorCode
    detail: object = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an operation, once for each."""

    ref: Ref
    result: Ok | Error


@dataclass(frozen=True, slots=True)
class Running:
    """The supervisor is up: every child was started, once."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The supervisor has ended and no child is alive. Before Running, this is a failed start."""

    reason: ExitReason


Effect: TypeAlias = Start | Stop | SetTimer | CancelTimer | Report | Answer | Running | Exit


# -- answers of queries --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One row of which_children: ``child`` is the pid, ``"restarting"`` (a start is due or under way), or None.

    ``"quarantined"`` is a dynamic child that was set aside.
    """

    id: str
    child: Pid | Literal["restarting", "quarantined"] | None
    type: ChildType


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """count_children: all specs, those with a live child, and the specs of each type."""

    specs: int
    active: int
    supervisors: int
    workers: int
