"""The children of one supervisor: what each is doing, and the steps of one child's start and stop.

Nothing here knows about siblings, strategies or intensity; :mod:`bitnexus.supervision.machine` decides those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

from bitnexus.actors.runtime.reasons import ExitReason
from bitnexus.supervision.events import (
    Answer,
    CancelTimer,
    ChildCounts,
    ChildInfo,
    Effect,
    Error,
    How,
    Ok,
    Pid,
    Ref,
    Report,
    ReportKind,
    SetTimer,
    Start,
    Stop,
)
from bitnexus.supervision.spec import ChildSpec

#: On whose behalf a child starts; it decides what a failure means.
Cause = Literal["initial_start", "restart", "sweep", "start_child", "restart_child"]


class Status(Enum):
    """What a child is doing."""

    STOPPED = auto()  # finished, ignored or terminated; stays until somebody starts it
    WAITING = auto()  # its turn to be started by the present sweep will come
    STARTING = auto()  # Start was given, no answer yet
    RUNNING = auto()
    STOPPING = auto()  # Stop was given; without a pid: a start that is being given up
    RESTARTING = auto()  # a restart failed or backs off; a timer will try again
    QUARANTINED = auto()  # over its own budget: set aside until a timer or an operator releases it (dynamic only)


ALIVE = frozenset({Status.STARTING, Status.RUNNING, Status.STOPPING})


@dataclass(slots=True)
class Child:
    """A spec with its present state; `how` is the last thing asked of a child that is stopping.

    The id of a dynamic child is its own, its spec is one that many share.
    """

    id: str
    spec: ChildSpec
    status: Status = Status.STOPPED
    pid: Pid | None = None
    cause: Cause = "initial_start"
    how: How = "shutdown"
    timer: int | None = None
    due_at: float = 0.0  # when the timer of RESTARTING or QUARANTINED fires
    started_at: float = 0.0
    failures: int = 0  # in a row; counted for backoff only
    verdict: ExitReason | None = None  # why it is being stopped although it was to run on: hung, max_rss
    start_refs: list[Ref] = field(default_factory=list)
    terminate_refs: list[Ref] = field(default_factory=list)

    @property
    def is_alive(self) -> bool:
        """Something of it exists or may exist."""
        return self.status in ALIVE

    @property
    def is_temporary(self) -> bool:
        """It is forgotten when it ends."""
        return self.spec.restart == "temporary"

    @property
    def first_asked(self) -> How:
        """How a stop of this child begins."""
        return "kill" if self.spec.shutdown == "brutal_kill" else "shutdown"

    def info(self) -> ChildInfo:
        """Its row of which_children."""
        if self.pid is not None:
            return ChildInfo(self.id, self.pid, self.spec.type)
        if self.status is Status.QUARANTINED:
            return ChildInfo(self.id, "quarantined", self.spec.type)
        return ChildInfo(self.id, None if self.status is Status.STOPPED else "restarting", self.spec.type)

    def wait_s(self, now: float, chance: float, *, crashed: bool) -> float:
        """How long its next restart has to wait, after one more failure: a crash, or a start that failed."""
        backoff = self.spec.backoff
        if backoff is None:
            return 0.0
        if crashed and now - self.started_at >= backoff.reset_after_s:
            self.failures = 0
        self.failures += 1
        return backoff.wait_s(self.failures, chance)


class Children:
    """The children in start order, their timers, and the effects that were decided since the last :meth:`drain`."""

    def __init__(self) -> None:
        self._by_id: dict[str, Child] = {}  # insertion order is start order
        self._timers: dict[int, str] = {}
        self._tokens = 0
        self._effects: list[Effect] = []

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, child_id: str) -> Child | None:
        """The child with this id, or None."""
        return self._by_id.get(child_id)

    def ids(self) -> list[str]:
        """All ids in start order."""
        return list(self._by_id)

    def infos(self) -> list[ChildInfo]:
        """which_children: newest first."""
        return [child.info() for child in reversed(self._by_id.values())]

    def counts(self) -> ChildCounts:
        """count_children."""
        supervisors = sum(child.spec.type == "supervisor" for child in self)
        return ChildCounts(
            specs=len(self._by_id),
            active=sum(child.pid is not None for child in self),
            supervisors=supervisors,
            workers=len(self._by_id) - supervisors,
        )

    def add(self, child_id: str, spec: ChildSpec) -> Child:
        """A new child at the end of the start order; its id must be free."""
        assert child_id not in self._by_id, child_id
        child = self._by_id[child_id] = Child(child_id, spec)
        return child

    def remove(self, child: Child) -> None:
        """Forget a child of which nothing is alive."""
        assert not child.is_alive, child
        assert child.timer is None, child
        del self._by_id[child.id]

    def hand_over(self, child: Child) -> None:
        """Forget a child that runs, or may be started at any time: from now on somebody else remembers it."""
        assert child.timer is None, child
        assert not child.start_refs, child
        assert not child.terminate_refs, child
        del self._by_id[child.id]

    # -- steps of one child ---------------------------------------------------------------------------------------

    def start(self, child: Child, cause: Cause) -> None:
        """Give Start; one of the three answers follows."""
        assert not child.is_alive, child
        assert child.timer is None, child
        child.status, child.cause = Status.STARTING, cause
        self.emit(Start(child.id, child.spec))

    def started(self, child: Child, pid: Pid, now: float) -> None:
        """A start succeeded."""
        assert child.status is Status.STARTING, child
        child.status, child.pid, child.started_at = Status.RUNNING, pid, now
        self.answer_starts(child, Ok(pid))

    def stop(self, child: Child) -> None:
        """Ask it to end, or kill it, as its spec says, and set the timer for the escalation."""
        assert child.status in (Status.STARTING, Status.RUNNING), child
        child.status, child.how = Status.STOPPING, child.first_asked
        self.emit(Stop(child.id, child.pid, child.how))
        if child.spec.stop_within_s is not None:
            self._set_timer(child, child.spec.stop_within_s)

    def started_too_late(self, child: Child, pid: Pid) -> None:
        """The start that was being given up succeeded: the same Stop goes to its pid; the time goes on."""
        assert child.status is Status.STOPPING, child
        assert child.pid is None, child
        child.pid = pid
        self.emit(Stop(child.id, pid, child.how))

    def kill(self, child: Child) -> None:
        """Its time to stop is over."""
        assert child.status is Status.STOPPING, child
        assert child.timer is None, child
        child.how = "kill"
        self.emit(Stop(child.id, child.pid, "kill"))

    def replace(self, child: Child, verdict: ExitReason, how: How) -> None:
        """Stop a child that is to run on afterwards, for this reason; one that hangs while it stops is killed."""
        if child.status is Status.RUNNING:
            self.report("replaced", child, verdict, how)
            child.verdict = verdict
            if how == "shutdown":
                self.stop(child)
            else:
                child.status = Status.STOPPING
                self.kill(child)
        elif child.status is Status.STOPPING and how == "kill" and child.how != "kill":
            self._cancel_timer(child)
            self.kill(child)

    def settle(self, child: Child) -> None:
        """Nothing of it is alive and nothing is planned: a temporary child is forgotten, others are kept stopped.

        Whoever waited for its end hears ok, whoever waited for its start must have been answered before.
        """
        assert not child.start_refs, child
        self.rest(child, Status.STOPPED)
        child.failures = 0
        if child.is_temporary:
            self.remove(child)

    def rest(self, child: Child, status: Literal[Status.STOPPED, Status.WAITING]) -> None:
        """Nothing of it is alive any more."""
        self._cancel_timer(child)
        child.status, child.pid, child.verdict = status, None, None
        for ref in child.terminate_refs:
            self.emit(Answer(ref, Ok()))
        child.terminate_refs.clear()

    def wait(
        self, child: Child, status: Literal[Status.RESTARTING, Status.QUARANTINED], after_s: float, now: float
    ) -> None:
        """Nothing of it is alive; a timer will try again, or release it."""
        self.rest(child, Status.STOPPED)
        child.status, child.due_at = status, now + after_s
        self._set_timer(child, after_s)

    def answer_starts(self, child: Child, result: Ok | Error) -> None:
        """Answer the operators who wait for its start."""
        for ref in child.start_refs:
            self.emit(Answer(ref, result))
        child.start_refs.clear()

    # -- timers and effects ---------------------------------------------------------------------------------------

    def fired(self, token: int) -> Child | None:
        """The child whose timer this was; None for a cancelled one."""
        child_id = self._timers.pop(token, None)
        if child_id is None:
            return None
        child = self._by_id[child_id]
        child.timer = None
        return child

    def _set_timer(self, child: Child, after_s: float) -> None:
        assert child.timer is None, child
        child.timer = self.set_timer(after_s)
        self._timers[child.timer] = child.id

    def set_timer(self, after_s: float) -> int:
        """Give SetTimer for something that is no child's; its token."""
        self._tokens += 1
        self.emit(SetTimer(self._tokens, after_s))
        return self._tokens

    def _cancel_timer(self, child: Child) -> None:
        if child.timer is not None:
            self.emit(CancelTimer(child.timer))
            del self._timers[child.timer]
            child.timer = None

    def emit(self, effect: Effect) -> None:
        """Add an effect to those of the present event."""
        self._effects.append(effect)

    def report(self, kind: ReportKind, child: Child, reason: ExitReason | None, context: str) -> None:
        """Add a report about a child."""
        self.emit(Report(kind, child.id, child.pid, reason, context))

    def report_unexpected(self, event: str, child_id: str, pid: Pid | None, reason: ExitReason | None) -> None:
        """As OTP, such a message is logged and dropped: a fault of the driver must not end the whole subtree."""
        self.emit(Report("unexpected", child_id, pid, reason, event))

    def drain(self) -> list[Effect]:
        """The effects since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects
