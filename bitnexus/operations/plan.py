"""What a command comes to: the orders that are given, and every step that follows from them. Pure.

`plan` is asked once, whether the command is carried out or not: a dry run prints the steps of the very plan that would
be carried out. An *order* is one message to one process. Its *steps* are what that leads to, in order: a supervisor
that is told to restart a child stops the subtree from the last to the first and starts it from the first to the last.

| verb | order to | steps |
|---|---|---|
| restart | the supervisor | stop in reverse order, start in order; of one that is stopped: start |
| restart of replicas | their supervisor, for each | stop one, start it; then the next |
| stop, start | the supervisor | one half of it |
| kill | the supervisor | it ends and all below with it; then whatever its supervisor's strategy says |
| suspend, drain | each worker | in reverse start order, so that what comes from outside ends first |
| resume | each worker | in start order |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bitnexus.actors.operator_messages import CHANGES, Step
from bitnexus.errors import BadRequest, CommandRefused
from bitnexus.operations.tree import Branch, Place

#: Who takes an order: a supervisor, for one of its children; a process itself; a process for a light actor in it.
To = Literal["supervisor", "process", "host"]

_NEEDS_A_SUPERVISOR: Final = ("restart", "stop", "start", "kill")
#: What the process that carries the commands out cannot do to itself: nobody could take it back.
_NOT_TO_ONESELF: Final = ("stop", "suspend", "drain")
_NOT_TO_AN_ACTOR: Final = {
    "stop": "a light actor is started by its next message: suspend it",
    "drain": "suspend it: what it has taken it finishes",
}
_ACTIVE: Final = frozenset({"idle", "runnable", "busy", "suspended", "activating"})
#: What is done to a light actor, and to one in which state: in any other there is nothing to do.
_OF_ACTOR: Final[dict[str, tuple[str, frozenset[str] | None]]] = {
    "start": ("released from its quarantine", frozenset({"quarantined"})),
    "restart": ("forgotten as soon as it is idle; its next message builds it anew from durable state", _ACTIVE),
    "kill": ("a crash, as its supervisor sees it; what waits goes to a fresh actor", None),
    "suspend": ("its messages wait", None),
    "resume": ("it goes on with what waited", frozenset({"suspended"})),
}
_KERNEL: Final = "the kernel"


@dataclass(frozen=True, slots=True)
class Order:
    """One message: `verb` for `subject` (a child's id or a light actor's key; "" for the process itself)."""

    kind: To
    to: str
    verb: str
    subject: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The orders, in order; nothing to do when there is none."""

    orders: tuple[Order, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """All steps, in order."""
        return [step for order in self.orders for step in order.steps]

    def ends(self, path: str) -> bool:
        """Whether the process at this path does not outlive it."""
        return any(step.path == path and step.action in ("stop", "kill", "end") for step in self.steps)

    def waits_for(self, name: str) -> bool:
        """Whether the process of this name ends, or finishes what it has, before the plan is carried out."""
        waiting = ("stop", "kill", "end", "drain")
        return any(step.path.rpartition("/")[2] == name and step.action in waiting for step in self.steps)


def plan(place: Place, verb: str, *, own_path: str, actor_status: str = "") -> Plan:
    """What `verb` comes to at `place`; `own_path` is that of the process that will carry it out.

    `actor_status` is that of the light actor, when `place` is one.

    Raises:
        CommandRefused: it cannot be done there, or not by this.
        BadRequest: there is no such verb.
    """
    if verb not in CHANGES:
        raise BadRequest(f"There is no command {verb!r}")
    if place.key:
        return _of_actor(place, verb, actor_status)
    if verb in _NEEDS_A_SUPERVISOR:
        if place.parent is None:
            raise CommandRefused(
                f"The root is the node: it is started and stopped with the service. {verb} what is below it instead."
            )
        _refuse_oneself(place.branch, verb, own_path)
        is_restart = verb == "restart" and place.parent.is_alive
        if is_restart and place.branch.replicas and place.branch.status == "running":
            return _of_replicas(place.branch)
        return _of_child(place.branch, place.parent, verb)
    _refuse_oneself(place.branch, verb, own_path)
    return _of_workers(place.branch, verb, own_path)


def _refuse_oneself(branch: Branch, verb: str, own_path: str) -> None:
    if branch.path == own_path and verb in _NOT_TO_ONESELF:
        raise CommandRefused(f"{branch.name} carries the operators' commands out: nobody could take that back.")


# -- of a child of a supervisor -----------------------------------------------------------------------------------


def _of_child(branch: Branch, parent: Branch, verb: str) -> Plan:
    if not parent.is_alive:
        raise CommandRefused(f"{parent.path} is {parent.status}, and nothing below it can be told: start it first.")
    is_down = branch.status == "stopped"
    warnings: list[str] = []
    if verb == "kill":
        steps, warnings = _kill(branch, parent)
    elif verb == "stop":
        steps = [] if is_down else list(stopping(branch, parent.name))
        if branch.restart == "temporary":
            warnings.append(f"{branch.name} is temporary: its supervisor forgets it when it ends.")
        elif parent.strategy != "one_for_one":
            warnings.append(f"{parent.name} is {parent.strategy}: it starts {branch.name} when a sibling crashes.")
    elif verb == "start":
        if branch.status in ("restarting", "waiting"):
            raise CommandRefused(f"{branch.path} is about to be started by its supervisor ({branch.status}).")
        steps = list(starting(branch, parent.name)) if is_down else []
    else:
        if branch.restart == "temporary":
            raise CommandRefused(f"{branch.path} is temporary: its supervisor forgets it when it ends.")
        steps = [*([] if is_down else stopping(branch, parent.name)), *starting(branch, parent.name)]
        if is_down:
            verb = "start"
    orders = (Order("supervisor", parent.name, verb, branch.name, tuple(steps)),) if steps else ()
    return Plan(orders, tuple(warnings))


def _of_replicas(branch: Branch) -> Plan:
    """One child after another, so that there is always somebody; their supervisor stays."""
    # Those that do not run come first: the more of them stand, the less is missed when one goes.
    children = sorted(branch.children, key=lambda each: each.status == "running")
    kept = [each for each in children if each.restart != "temporary"]
    plans = [_of_child(each, branch, "restart") for each in kept]
    warnings = [f"{branch.name} stays: its children stand in for each other, and go one after another."]
    warnings += [f"{each.name} is temporary, and left as it is." for each in children if each not in kept]
    if len(kept) == 1 and kept[0].is_alive:
        warnings.append(f"{kept[0].name} is the only one: nobody stands in for it while it is away.")
    return Plan(tuple(order for each in plans for order in each.orders), tuple(warnings))


def stopping(branch: Branch, by: str) -> Iterator[Step]:
    """How `by` stops a subtree: from its last process to its first."""
    if branch.is_alive:
        for child in reversed(branch.children):
            yield from stopping(child, branch.name)
        yield Step("stop", branch.path, by, branch.pid, _patience(branch))
    elif branch.status != "stopped":
        yield Step("stop", branch.path, by, None, "its start is cancelled")


def starting(branch: Branch, by: str) -> Iterator[Step]:
    """How `by` starts a subtree: a supervisor, then its children in order, as they are declared."""
    yield Step("start", branch.path, by)
    for child in branch.declared:
        yield from starting(child, branch.name)


def _patience(branch: Branch) -> str:
    if branch.stop_within_s is None:
        return "waits for it"
    return f"killed after {branch.stop_within_s:g} s" if branch.stop_within_s else "killed at once"


def _kill(branch: Branch, parent: Branch) -> tuple[list[Step], list[str]]:
    if not branch.is_alive or branch.pid is None:
        raise CommandRefused(f"{branch.path} has no process: it is {branch.status}.")
    steps = [Step("kill", branch.path, parent.name, branch.pid, "SIGKILL")]
    below = [each for each in branch.all() if each is not branch and each.is_alive]
    steps += [Step("end", each.path, _KERNEL, each.pid, "dies with its supervisor") for each in below]
    if branch.status == "stopping":
        return steps, []
    if branch.restart == "temporary":
        return steps, [f"{branch.name} is temporary: it is not restarted."]
    if parent.restarts_used >= parent.restarts_allowed:
        used = f"{parent.restarts_used} of {parent.restarts_allowed} restarts in {parent.period_s:g} s"
        return steps, [f"{parent.name} has used {used}: one more, and it gives up with all its children."]
    swept = _swept(branch, parent)
    for sibling in reversed(swept):
        if sibling is not branch:
            steps += stopping(sibling, parent.name)
    for sibling in swept:
        if sibling.restart != "temporary":
            steps += starting(sibling, parent.name)
    return steps, []


def _swept(crashed: Branch, parent: Branch) -> tuple[Branch, ...]:
    """Whom the supervisor restarts when this child of it crashes, in start order."""
    siblings = parent.children
    match parent.strategy:
        case "one_for_all":
            return siblings
        case "rest_for_one":
            return siblings[siblings.index(crashed) :]
        case _:
            return (crashed,)


# -- of processes -------------------------------------------------------------------------------------------------


def _of_workers(branch: Branch, verb: str, own_path: str) -> Plan:
    workers = [each for each in branch.all() if each.kind == "worker" and each.path != own_path]
    running = [each for each in workers if each.status in ("running", "suspended")]
    left_out = [f"{each.path} is {each.status}." for each in workers if each not in running]
    if any(each.path == own_path for each in branch.all()) and branch.path != own_path:
        left_out.append(f"{own_path} carries the operators' commands out, and is left as it is.")
    if verb != "resume":
        running.reverse()
    orders = (Order("process", each.name, verb, "", (Step(verb, each.path, each.name, each.pid),)) for each in running)
    return Plan(tuple(orders), tuple(left_out))


# -- of a light actor ---------------------------------------------------------------------------------------------


def _of_actor(place: Place, verb: str, status: str) -> Plan:
    _refuse_of_actor(place, verb, status)
    note, needed = _OF_ACTOR[verb]
    if needed is not None and status not in needed:
        is_asleep = verb in ("start", "restart") and status == "inactive"
        return Plan((), (f"{place.path} is not active: its next message starts it.",) if is_asleep else ())
    host = place.branch.name
    return Plan((Order("host", host, verb, place.key, (Step(verb, place.path, host, place.branch.pid, note),)),))


def _refuse_of_actor(place: Place, verb: str, status: str) -> None:
    if verb in _NOT_TO_AN_ACTOR:
        raise CommandRefused(f"There is no {verb} of a light actor: {_NOT_TO_AN_ACTOR[verb]}.")
    if verb == "restart" and status == "quarantined":
        raise CommandRefused(f"{place.path} is quarantined: start it.")
    if verb == "kill" and status in ("inactive", "quarantined", "restarting"):
        raise CommandRefused(f"{place.path} is not active: it is {status}.")


# -- afterwards ---------------------------------------------------------------------------------------------------


def unsettled(steps: list[Step], root: Branch) -> list[str]:
    """What is not yet as the steps would have it, in words; nothing when the tree `root` shows all of them done."""
    seen = {branch.path: branch for branch in root.all()}
    last = {step.path: step.action for step in steps}
    former = {(step.path, step.pid) for step in steps if step.action in ("stop", "kill", "end")}
    found = []
    for path, action in last.items():
        branch = seen.get(path)
        if action == "start":
            if branch is None or branch.status not in ("running", "suspended"):
                found.append(f"{path} is {branch.status if branch else 'not there'}")
            elif (path, branch.pid) in former:
                found.append(f"{path} is still process {branch.pid}")
        elif action in ("stop", "kill", "end") and branch is not None and branch.is_alive:
            found.append(f"{path} is {branch.status}")
    return found
