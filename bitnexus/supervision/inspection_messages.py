"""What operators' commands come to at a supervisor: of processes, or of the light actors in one. Internal to the node.

They are the node's own (`is_control`): a supervisor answers them whatever else it does.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.message import Message


class GetChildren(Message, frozen=True, tag="GetChildren/1"):
    """Ask a supervisor for its children; answered by :class:`ChildrenReport`."""

    is_control: ClassVar[bool] = True


class ChildReport(Message, frozen=True, tag="ChildReport/1"):
    """One child as its supervisor knows it; the order of reports is the start order.

    `status` is that of children.Status in lower case, or "suspended"; `uptime_s` is None for one that does not run;
    `stop_within_s` is None where it is never killed, 0 where it is never asked. `mailbox` and `lag_ms` are of its last
    heartbeat. `declared` are the children that a supervisor starts with, as if they were stopped.
    """

    id: str
    kind: str
    restart: str
    status: str
    pid: int | None
    uptime_s: float | None
    stop_within_s: float | None
    restarts: int
    exits: int
    mailbox: int
    lag_ms: float
    last_exit: str
    last_exit_us: int  # µs since 1970; 0: it never ended
    declared: list[ChildReport] = msgspec.field(default_factory=list)


class ChildrenReport(Message, frozen=True, tag="ChildrenReport/1"):
    """A supervisor and its children; `restarts_used` of `restarts_allowed` count within the last `period_s`.

    `replicas`: each child can do the work of all.
    """

    is_control: ClassVar[bool] = True

    path: str
    pid: int
    strategy: str
    restarts_used: int
    restarts_allowed: int
    period_s: float
    children: list[ChildReport]
    replicas: bool = False


class OperateChild(Message, frozen=True, tag="OperateChild/1"):
    """Do `operation` ("start", "stop", "restart" or "kill") to a child; answered by :class:`ChildOperated` when done.

    "restart" stops it in order and starts it again, whatever becomes of whoever asked.
    """

    is_control: ClassVar[bool] = True

    child: str
    operation: str


class ChildOperated(Message, frozen=True, tag="ChildOperated/1"):
    """`result` is "ok" or a code of events.ErrorCode."""

    is_control: ClassVar[bool] = True

    result: str
    detail: str = ""


class GetEnds(Message, frozen=True, tag="GetEnds/1"):
    """Ask a supervisor how its children ended, or this one `child`; answered by :class:`Ends`."""

    is_control: ClassVar[bool] = True

    child: str = ""


class End(Message, frozen=True, tag="End/1"):
    """One end of a child: when (µs since 1970), why, after how long; `uptime_s` is None for a start that failed."""

    child: str
    time_us: int
    reason: str
    uptime_s: float | None
    traceback: str


class Ends(Message, frozen=True, tag="Ends/1"):
    """The last ends of each child, in no particular order."""

    is_control: ClassVar[bool] = True

    ends: list[End]


# -- light actors -------------------------------------------------------------------------------------------------


class GetLightActors(Message, frozen=True, tag="GetLightActors/1"):
    """Ask the process that hosts them for a page of its light actors; answered by :class:`LightActorsReport`.

    With `busiest_for_s` it looks for so long which of them work most, and those come first.
    """

    is_control: ClassVar[bool] = True

    limit: int
    busiest_for_s: float = 0.0


class LightActorReport(Message, frozen=True, tag="LightActorReport/1"):
    """One light actor. `status`: idle, runnable, busy, activating, suspended, quarantined, restarting or inactive."""

    is_control: ClassVar[bool] = True

    key: str
    status: str
    waiting: int = 0
    restarts: int = 0
    last_exit: str = ""
    last_exit_us: int = 0
    busy_share: float = 0.0  # of the time that was looked
    received: int = 0  # in that time
    summary: dict[str, Scalar] = msgspec.field(default_factory=dict)


class LightActorsReport(Message, frozen=True, tag="LightActorsReport/1"):
    """How many are active, and some of them: those that are set aside or suspended first."""

    is_control: ClassVar[bool] = True

    active: int
    quarantined: int
    actors: list[LightActorReport]


class GetLightActor(Message, frozen=True, tag="GetLightActor/1"):
    """Ask for one light actor, active or not: looking does not activate it. Answered by :class:`LightActorReport`.

    NotFound: there can be none of this name in this process.
    """

    is_control: ClassVar[bool] = True

    key: str


class OperateLightActor(Message, frozen=True, tag="OperateLightActor/1"):
    """Do `operation` to a light actor; answered by :class:`ChildOperated`.

    "restart" forgets it as soon as it is idle: it is built anew from durable state; "kill" is a crash; "start" ends its
    quarantine; "suspend" and "resume".
    """

    is_control: ClassVar[bool] = True

    key: str
    operation: str
