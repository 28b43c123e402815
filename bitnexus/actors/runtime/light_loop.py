"""Light actors on an asyncio loop.

Turns run by `call_soon`, loads as tasks with a time limit; one timer of the loop serves all passivation, another one
all timers of actors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic

from bitnexus.actors.runtime.light import C, LightActors, Limits, M, Out, Owner, S
from bitnexus.actors.runtime.light_timers import Alarm
from bitnexus.errors import BitNexusError, RuntimeFault

#: Reads the durable states of some keys; a key without state may be missing from the answer.
Load = Callable[[Sequence[str]], Awaitable[Mapping[str, S]]]

LOAD_TIMEOUT_S = 5.0


class LightActorLoop(Generic[M, C, Out, S]):
    """A table of light actors (`actors`) that runs on the running loop until :meth:`stop`.

    Without `load` actors have no durable state. A load that takes longer than `load_timeout_s` fails; what waited for
    it is undelivered with a 503.
    """

    def __init__(
        self,
        owner: Owner[M, C, Out, S],
        limits: Limits | None = None,
        *,
        load: Load[S] | None = None,
        load_timeout_s: float = LOAD_TIMEOUT_S,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._load = load
        self._load_timeout_s = load_timeout_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.actors: LightActors[M, C, Out, S] = LightActors(
            owner,
            limits or Limits(),
            now_s=self._loop.time(),
            schedule=self._loop.call_soon,
            start_load=None if load is None else self._start_load,
            alarm=Alarm(self._loop.time, self._wake_at),
        )
        self._alarm: asyncio.TimerHandle | None = None
        self._timer = self._loop.call_later(self.actors.limits.tick_s, self._sweep)

    async def call(self, key: str, message: M, *, timeout_s: float) -> Any:
        """The answer of the actor `key` to `message`; raises Overloaded, CallTimeout or the error that it ended in.

        Actors ask each other without a future: see light_requests.
        """
        answer: asyncio.Future[Any] = self._loop.create_future()

        def on_reply(result: Any) -> None:
            if not answer.done():
                answer.set_result(result)

        self.actors.ask(key, message, on_reply, timeout_s=timeout_s)
        result = await answer
        if isinstance(result, BitNexusError):
            raise result
        return result

    async def stop(self) -> None:
        """End the timers and the loads; messages still waiting stay unanswered, as in any death of the process."""
        self._timer.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _sweep(self) -> None:
        more = self.actors.sweep(self._loop.time())
        delay_s = 0.0 if more else self.actors.limits.tick_s
        self._timer = self._loop.call_later(delay_s, self._sweep)

    def _wake_at(self, due_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due_s, self._fire)

    def _fire(self) -> None:
        self._alarm = None
        self.actors.fire(self._loop.time())

    def _start_load(self, keys: Sequence[str]) -> None:
        task = self._loop.create_task(self._run_load(keys))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_load(self, keys: Sequence[str]) -> None:
        assert self._load is not None
        try:
            async with asyncio.timeout(self._load_timeout_s):
                states = await self._load(keys)
        except TimeoutError:
            self.actors.load_failed(keys, RuntimeFault("Durable state could not be read in time"))
        except Exception as error:  # noqa: BLE001 - reported by the table: passed on or a crash of each actor
            self.actors.load_failed(keys, error)
        else:
            self.actors.loaded(keys, states)
