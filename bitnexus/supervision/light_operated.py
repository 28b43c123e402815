"""What a process that hosts supervised light actors does for operators: it shows them, and works on one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from bitnexus.actors.runtime import light_operations
from bitnexus.actors.runtime.context import Context
from bitnexus.actors.runtime.inspection_messages import Scalar
from bitnexus.actors.runtime.light_statistics import ActorStatistics, LightStatistics
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.errors import BadRequest, Overloaded, RuntimeFault
from bitnexus.supervision.inspection_messages import (
    ChildOperated,
    Ends,
    GetEnds,
    GetLightActor,
    GetLightActors,
    LightActorReport,
    LightActorsReport,
    OperateLightActor,
)
from bitnexus.supervision.light_supervisor import LightSupervisor
from bitnexus.supervision.operated import end_of, operated, wall_us

#: Light actors in one answer at most, and how long it is looked which of them work most.
MAX_SHOWN: Final = 500
MAX_LOOK_S: Final = 10.0


class LightOperated(Process):
    """Base of a process with light actors; a subclass says which supervisor they have, and which keys are its own."""

    @property
    def light_supervisor(self) -> LightSupervisor[Any, Any, Any, Any]:
        """The supervisor of the light actors."""
        raise NotImplementedError

    @property
    def light_actors(self) -> int | None:
        """How many are active."""
        return len(self.light_supervisor.actors)

    def check_key(self, key: str) -> None:
        """Raises NotFound for what can never be the key of a light actor of this process, and says where it can."""
        raise NotImplementedError

    @handles(GetLightActors)
    async def _light_actors(self, message: GetLightActors, context: Context) -> LightActorsReport:
        supervisor, limit = self.light_supervisor, min(max(message.limit, 0), MAX_SHOWN)
        look_s = min(message.busiest_for_s, MAX_LOOK_S, context.remaining_s)
        busiest: Mapping[str, ActorStatistics] = await self._look(look_s, limit) if look_s > 0 else {}
        quarantined = supervisor.quarantined()
        others = [info.key for info in light_operations.listed(supervisor.actors, limit=limit)]
        # What needs an operator first; a key once.
        keys = list(dict.fromkeys([*busiest, *quarantined, *supervisor.actors.suspended(), *others]))[:limit]
        return LightActorsReport(
            active=len(supervisor.actors),
            quarantined=len(quarantined),
            actors=[self._report_of(key, busiest.get(key), look_s) for key in keys],
        )

    @handles(GetLightActor)
    def _light_actor(self, message: GetLightActor, context: Context) -> LightActorReport:  # noqa: ARG002 - a question
        self.check_key(message.key)
        return self._report_of(message.key)

    @handles(GetEnds)
    def _light_ends(self, message: GetEnds, context: Context) -> Ends:  # noqa: ARG002 - a question
        history, now = self.light_supervisor.history, self.node.loop.time()
        if message.child:
            self.check_key(message.child)
            return Ends([end_of(message.child, ended, now) for ended in history.of(message.child)])
        return Ends([end_of(key, ended, now) for key, ended in history.latest(MAX_SHOWN)])

    @handles(OperateLightActor)
    async def _operate_light(self, message: OperateLightActor, context: Context) -> ChildOperated:  # noqa: ARG002
        key, actors = message.key, self.light_supervisor.actors
        self.check_key(key)
        self.log.warning("operated", light_actor=key, operation=message.operation)
        match message.operation:
            case "start":
                return operated(await self.light_supervisor.release_child(key))
            case "restart":
                actors.retire(key)
            case "kill":
                return ChildOperated("ok" if actors.kill(key) else "not_found")
            case "suspend":
                try:
                    actors.suspend(key)
                except Overloaded as error:
                    return ChildOperated("max_children", error.detail)
            case "resume":
                actors.resume(key)
            case _:
                raise BadRequest(f"There is no operation {message.operation!r} on a light actor")
        return ChildOperated("ok")

    async def _look(self, look_s: float, limit: int) -> dict[str, ActorStatistics]:
        """The light actors that work most in this time; two who look at once share what they see."""
        actors = self.light_supervisor.actors
        statistics = actors.statistics or LightStatistics(time.perf_counter_ns)
        actors.statistics = statistics
        try:
            await asyncio.sleep(look_s)
        finally:
            actors.statistics = None
        return dict(statistics.busiest(limit))

    def _report_of(self, key: str, worked: ActorStatistics | None = None, look_s: float = 0.0) -> LightActorReport:
        supervisor, now = self.light_supervisor, self.node.loop.time()
        ends = supervisor.history.of(key)
        actor = supervisor.actors.find(key)
        info = None if actor is None else light_operations.described(supervisor.actors, actor)
        summary: dict[str, Scalar] = {}
        if actor is not None:
            try:
                found = light_operations.state_summary(supervisor.actors, key)
                summary = {name: _scalar(value) for name, value in found.items()}
            except RuntimeFault as error:
                summary = {"summary": error.detail}
        return LightActorReport(
            key=key,
            status=info.status if info is not None else self._status_of_inactive(key),
            waiting=0 if info is None else info.waiting,
            restarts=supervisor.history.counters(key).restarts,
            last_exit=str(ends[-1].reason) if ends else "",
            last_exit_us=wall_us(ends[-1].at_s, now) if ends else 0,
            busy_share=worked.busy_ns / (look_s * 1e9) if worked is not None else 0.0,
            received=0 if worked is None else worked.received,
            summary=summary,
        )

    def _status_of_inactive(self, key: str) -> str:
        supervisor = self.light_supervisor
        if (waits := supervisor.waits(key)) is not None:
            return waits
        if supervisor.actors.is_suspended(key):
            return "suspended"
        return "activating" if supervisor.actors.is_activating(key) else "inactive"


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
