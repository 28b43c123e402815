"""What operators may do to the children of a supervisor, with the answers of OTP's ``supervisor``.

| call            | running              | stopped         | start due or under way | unknown     |
|-----------------|----------------------|-----------------|------------------------|-------------|
| start_child     | already_started(pid) | already_present | already_present        | starts      |
| restart_child   | running              | ok(pid)         | restarting             | not_found   |
| delete_child    | running              | ok              | restarting             | not_found   |
| terminate_child | ok                   | ok              | ok, start cancelled    | not_found   |

A child that is being stopped counts as running until it has ended. Calls that start or stop a child are answered
when that has happened; the supervisor handles other events meanwhile.
"""

from __future__ import annotations

from typing import assert_never

from bitnexus.supervision.children import Child, Children, Status
from bitnexus.supervision.events import (
    Answer,
    DeleteChild,
    Error,
    Ok,
    Operation,
    RestartChild,
    StartChild,
    TerminateChild,
)
from bitnexus.supervision.spec import SpecError, SupervisorFlags, check_spec_under
from bitnexus.supervision.sweep import Sweep


def carry_out(call: Operation, children: Children, flags: SupervisorFlags, sweep: Sweep | None) -> None:
    """Do what an operator asks; answer now, or when the child that starts or stops for it has done so."""
    result: Ok | Error | None
    match call:
        case StartChild():
            result = _start(call, children, flags)
        case RestartChild():
            result = _restart(call, children)
        case DeleteChild():
            result = _delete(call, children)
        case TerminateChild():
            result = _terminate(call, children, sweep)
        case _:
            assert_never(call)
    if result is not None:
        children.emit(Answer(call.ref, result))


def _start(call: StartChild, children: Children, flags: SupervisorFlags) -> Error | None:
    present = children.get(call.spec.id)
    if present is not None:
        return Error("already_present") if present.pid is None else Error("already_started", present.pid)
    try:
        check_spec_under(flags, call.spec)
    except SpecError as error:
        return Error("bad_combination", error)
    child = children.add(call.spec.id, call.spec)
    children.start(child, "start_child")
    child.start_refs.append(call.ref)
    return None


def _restart(call: RestartChild, children: Children) -> Error | None:
    child = children.get(call.id)
    if child is None or child.status is not Status.STOPPED:
        return _why_not_stopped(child)
    children.start(child, "restart_child")
    child.start_refs.append(call.ref)
    return None


def _delete(call: DeleteChild, children: Children) -> Ok | Error:
    child = children.get(call.id)
    if child is None or child.status is not Status.STOPPED:
        return _why_not_stopped(child)
    children.remove(child)
    return Ok()


def _why_not_stopped(child: Child | None) -> Error:
    if child is None:
        return Error("not_found")
    return Error("restarting") if child.pid is None else Error("running")


def _terminate(call: TerminateChild, children: Children, sweep: Sweep | None) -> Ok | Error | None:
    child = children.get(call.id)
    if child is None:
        return Error("not_found")
    if not child.is_alive:
        children.answer_starts(child, Error("terminated"))
        children.settle(child)
        return Ok()
    # A sweep that has yet to stop it keeps its order: the child's turn will come.
    if child.status is not Status.STOPPING and not (sweep and sweep.stops(child.id)):
        children.stop(child)
    child.terminate_refs.append(call.ref)
    return None
