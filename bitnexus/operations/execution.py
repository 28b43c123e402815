"""Carries the orders of a plan out, one after another, and looks whether the tree has become what the steps say.

It looks after each order: what is not up again is not followed by the next one's end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from bitnexus.actors.operator_messages import Step
from bitnexus.actors.runtime.inspection_messages import Drain, Drained, Resume, Suspend
from bitnexus.actors.runtime.message import Done, Message
from bitnexus.actors.runtime.node import Node
from bitnexus.errors import BitNexusError, CallTimeout, RuntimeFault
from bitnexus.operations.plan import Order, Plan, unsettled
from bitnexus.operations.survey import survey
from bitnexus.supervision.inspection_messages import ChildOperated, OperateChild, OperateLightActor

#: How often it is looked whether what was begun has happened: a kill is answered before its consequences.
_LOOK_S: Final = 0.05
#: What an answer may take to come back beyond the time in which its work must be done.
_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a plan: "done", "nothing", "unfinished" or "failed", the steps of the orders given, and why."""

    outcome: str
    steps: list[Step]
    detail: str = ""


class Execution:
    """Of the plans of one node. Stateless: whoever dies here leaves what it has begun to those it has told."""

    def __init__(self, node: Node, root_name: str) -> None:
        self._node = node
        self._root_name = root_name

    async def carry_out(self, plan: Plan, within_s: float) -> Result:
        """Give the orders; what is not done after `within_s` goes on by itself, but no further order is given."""
        if not plan.orders:
            return Result("nothing", [])
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        given: list[Step] = []
        for order in plan.orders:
            if loop.time() >= deadline:
                return Result("unfinished", given, f"there was no time left for {_named(order)}")
            given += order.steps
            outcome, detail = await self._carry_out(order, deadline)
            if outcome != "done":
                return Result(outcome, given, detail)
        return Result("done", given)

    async def _carry_out(self, order: Order, deadline: float) -> tuple[str, str]:
        """The outcome of one order, as a Result has it, and why."""
        try:
            answer = await self._give(order, deadline - asyncio.get_running_loop().time())
        except CallTimeout:
            return "unfinished", f"{order.to} has not finished in time; it goes on"
        except BitNexusError as error:
            return "failed", f"{_named(order)}: {error.detail}"
        complaint = _complaint(order, answer)
        if complaint:
            return "unfinished" if order.verb == "drain" else "failed", complaint
        left = await self._until_settled(list(order.steps), deadline)
        return ("unfinished", left) if left else ("done", "")

    async def _give(self, order: Order, within_s: float) -> Message:
        message: Message
        match order.kind:
            case "supervisor":
                message = OperateChild(order.subject, order.verb)
            case "host":
                message = OperateLightActor(order.subject, order.verb)
            case _ if order.verb == "drain":
                message = Drain(within_s)
            case _:
                message = Suspend() if order.verb == "suspend" else Resume()
        grace_s = _GRACE_S if order.verb == "drain" else 0.0
        return await self._node.call(order.to, message, timeout_s=within_s + grace_s)

    async def _until_settled(self, steps: list[Step], deadline: float) -> str:
        """What is still not as the steps would have it at the deadline; "" as soon as everything is."""
        loop = asyncio.get_running_loop()
        if not any(step.action in ("start", "stop", "kill", "end") for step in steps):
            return ""
        while True:
            try:
                left = unsettled(steps, await survey(self._node, self._root_name))
            except RuntimeFault as error:
                left = [error.detail]
            if not left:
                return ""
            if loop.time() >= deadline:
                return "; ".join(left)
            await asyncio.sleep(_LOOK_S)


def _complaint(order: Order, answer: Message) -> str:
    match answer:
        case ChildOperated("ok") | Done():
            return ""
        case ChildOperated(code, detail):
            return f"{_named(order)}: {code}{f' ({detail})' if detail else ''}"
        case Drained(0):
            return ""
        case Drained(left):
            return f"{order.to} has {left} of its messages still to finish"
        case _:
            return f"{order.to} answered by {type(answer).__name__}"


def _named(order: Order) -> str:
    return f"{order.verb} of {order.subject or order.to} by {order.to}"
