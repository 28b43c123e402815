"""The driver of the dynamic machine over light actors: one supervisor, one table of actors, one loop.

Two ways to have children:

- **Started** (`flags.on_demand` false): :meth:`LightSupervisor.start_child` starts them and they stay until they end
  by `terminate_child` or with their supervisor. One that crashes is there again before the loop's next turn.
- **On demand**: the first message to a key activates its actor, idleness passivates it, and the supervisor hears of it
  when it crashes. While one is set aside, :meth:`LightSupervisor.tell` refuses its messages and nobody else's.

The table isolates crashes and keeps messages; the machine decides what follows; this module joins the two.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Generic, Literal, Protocol, assert_never

from bitnexus.actors.runtime.light import C, Crash, LightActor, Limits, M, Out, S
from bitnexus.actors.runtime.light_actor import S_contra
from bitnexus.actors.runtime.light_loop import LightActorLoop, Load
from bitnexus.actors.runtime.reasons import SHUTDOWN, ExitReason, killed, raised
from bitnexus.errors import BitNexusError, NoProcess, Overloaded, Quarantined
from bitnexus.supervision import events as ev
from bitnexus.supervision.dynamic import DynamicMachine
from bitnexus.supervision.dynamic_flags import DynamicFlags
from bitnexus.supervision.history import History
from bitnexus.supervision.spec import ChildSpec

#: How often it is looked whether actors that were asked to stop while they were at work have done so.
_LEAVE_POLL_S: Final = 0.005
_NEVER_S: Final = 1e9
_KILLED: Final = killed(signal.SIGKILL)


class LightChildren(Protocol[M, C, Out, S_contra]):
    """What the owner of supervised light actors does for them; none of these may raise but `make` and `emit`."""

    def make(self, key: str, state: S_contra | None) -> LightActor[M, C, Out]:
        """A fresh actor from its durable state, as :meth:`bitnexus.actors.runtime.light.Owner.make`."""

    def emit(self, actor: LightActor[M, C, Out], output: Out, context: C) -> None:
        """Send what `receive` returned, as `Owner.emit`."""

    def undelivered(self, key: str, message: M, context: C, error: BitNexusError) -> None:
        """A message that no actor will receive, as `Owner.undelivered`."""

    def crashed(self, crash: Crash, context: C | None) -> None:
        """For the log: an actor ended; what follows is the supervisor's business. Must not tell."""

    def reported(self, report: ev.Report) -> None:
        """For the log: a child was set aside or released, did not start again, or the supervisor gave up."""


class LightSupervisor(Generic[M, C, Out, S]):
    """Supervises the actors of one table, which it owns (`actors`), on the running loop until :meth:`stop`.

    `load` reads durable states, for children on demand alone. `ended` has the reason when the supervisor has ended,
    by :meth:`stop` or because it gave up: whoever hosts it should end then.
    """

    def __init__(
        self,
        children: LightChildren[M, C, Out, S],
        flags: DynamicFlags,
        template: ChildSpec,
        *,
        limits: Limits | None = None,
        load: Load[S] | None = None,
    ) -> None:
        assert flags.on_demand or load is None, "children that are started have no durable state"
        limits = limits or Limits()
        if not flags.on_demand:
            limits = replace(limits, idle_s=_NEVER_S)  # passivation is for children on demand
        self._loop = asyncio.get_running_loop()
        self._children = children
        self._on_demand = flags.on_demand
        self._machine = DynamicMachine(flags, template, chance=random.random)
        self._host: LightActorLoop[M, C, Out, S] = LightActorLoop(self, limits, load=load)
        self.actors = self._host.actors
        self.ended: asyncio.Future[ExitReason] = self._loop.create_future()
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._restarting: set[str] = set()
        self._leaving: set[str] = set()  # asked to stop while at work
        self._killing: set[str] = set()
        self._first_start: str | None = None  # the child that start_child is starting
        self._start_failure: ExitReason | None = None
        # The hot path: nothing of a supervisor's is needed on it.
        self.emit = children.emit
        self.undelivered = children.undelivered

    # -- messages -------------------------------------------------------------------------------------------------

    def tell(self, key: str, message: M, context: C, *, bounded: bool = True) -> None:
        """Have a child receive a message, now or in its turn; see LightActors.deliver.

        Raises Overloaded, Quarantined, or NoProcess, before any effect.
        """
        if (wait_s := self._machine.refusal(key, self._loop.time())) is not None:
            raise Quarantined(f"Set aside after repeated failures for another {wait_s:.0f} s")
        if not self._on_demand and key not in self.actors and key not in self._restarting:
            raise NoProcess(f"There is no child {key!r}")
        self.actors.deliver(key, message, context, bounded=bounded)

    # -- operations -----------------------------------------------------------------------------------------------

    def start_child(self, key: str) -> ev.Ok | ev.Error:
        """Start a child now; `Ok.pid` is its key."""
        assert not self._on_demand, "children on demand are started by messages"
        if (refused := self._machine.adopt(key, key)) is not None:
            return refused
        self._first_start, self._start_failure = key, None
        try:
            self.actors.start(key)
        except Overloaded as error:
            self._start_failure = raised(error)
        finally:
            self._first_start = None
        if self._start_failure is None:
            return ev.Ok(key)
        self._machine.disown(key)
        return ev.Error("start_failed", self._start_failure)

    async def terminate_child(self, key: str) -> ev.Ok | ev.Error:
        """Let a child finish what it is at, for as long as its spec gives it, and forget it."""
        answer: asyncio.Future[ev.Ok | ev.Error] = self._loop.create_future()
        self._tell(ev.TerminateChild(key, answer))
        return await answer

    async def release_child(self, key: str) -> ev.Ok | ev.Error:
        """End a child's quarantine now."""
        answer: asyncio.Future[ev.Ok | ev.Error] = self._loop.create_future()
        self._tell(ev.ReleaseChild(key, answer))
        return await answer

    async def stop(self, reason: ExitReason = SHUTDOWN) -> None:
        """Stop all children that were started, at the same time, and the table.

        Children on demand are dropped as they are: what they know is durable.
        """
        self._tell(ev.Shutdown(reason))
        await self.ended
        await self._host.stop()

    # -- queries --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many children there are; of those on demand, how many are active."""
        return len(self.actors) if self._on_demand else len(self._machine)

    @property
    def history(self) -> History:
        """How the children ended; its times are those of the loop's clock."""
        return self._machine.history

    def quarantined(self) -> list[str]:
        """The children that are set aside."""
        return self._machine.quarantined()

    def waits(self, key: str) -> Literal["quarantined", "restarting"] | None:
        """Whether a child is "quarantined", or "restarting" after a wait; None for any other."""
        if self._machine.refusal(key, self._loop.time()) is None:
            return None
        return "quarantined" if key in self._machine.quarantined() else "restarting"

    def which_children(self) -> Iterator[ev.ChildInfo]:
        """The children that the machine knows: of those on demand, the ones that wait or are set aside."""
        return self._machine.which_children()

    def count_children(self) -> ev.ChildCounts:
        """How many children the machine knows, as :meth:`which_children`."""
        return self._machine.count_children()

    # -- owner of the table ---------------------------------------------------------------------------------------

    def make(self, key: str, state: S | None) -> LightActor[M, C, Out]:
        """A fresh actor; for a child that was to be restarted, that is its start."""
        actor = self._children.make(key, state)
        if self._restarting and key in self._restarting:
            self._restarting.discard(key)
            self._tell(ev.ChildStarted(key, key))
        return actor

    def crashed(self, crash: Crash, context: C | None) -> bool:
        """Tell the machine; True if what was queued may go to a fresh actor."""
        key = crash.key
        if key in self._killing:
            self._killing.discard(key)
            self._exited(key, _KILLED)
            return False
        self._children.crashed(crash, context)
        reason = exit_reason(crash)
        if key == self._first_start:
            self._start_failure = reason
            return False
        if key in self._restarting:
            self._restarting.discard(key)
            return self._tell(ev.ChildStartFailed(key, reason))
        return self._exited(key, reason)

    # -- the machine ----------------------------------------------------------------------------------------------

    def _exited(self, key: str, reason: ExitReason) -> bool:
        self._leaving.discard(key)
        return self._tell(ev.ChildExited(key, key, reason))

    def _tell(self, event: ev.DynamicEvent) -> bool:
        """Tell the machine and do what it wants; True if a child is to start again."""
        starts = False
        for effect in self._machine.handle(event, self._loop.time()):
            starts |= isinstance(effect, ev.Start)
            self._carry_out(effect)
        return starts

    def _carry_out(self, effect: ev.Effect) -> None:  # noqa: C901, PLR0912  # one case an effect
        match effect:
            case ev.Stop(key, _, how):
                self._stop_child(key, how)
            case ev.Start(key, _):
                if not self._on_demand:
                    self._restarting.add(key)
                    self._loop.call_soon(self._start_again, key)
            case ev.SetTimer(token, after_s):
                self._timers[token] = self._loop.call_later(after_s, self._timer_fired, token)
            case ev.CancelTimer(token):
                if (timer := self._timers.pop(token, None)) is not None:
                    timer.cancel()
            case ev.Report(kind):
                if kind not in ("progress", "child_terminated"):  # `crashed` has told of the latter
                    self._children.reported(effect)
            case ev.Answer(ref, result):
                assert isinstance(ref, asyncio.Future)
                if not ref.done():  # whoever asked may have gone
                    ref.set_result(result)
            case ev.Exit(reason):
                self._end(reason)
            case ev.Running():
                raise AssertionError(effect)  # a dynamic machine runs from the start
            case _:
                assert_never(effect)

    def _timer_fired(self, token: int) -> None:
        del self._timers[token]
        self._tell(ev.TimerFired(token))

    def _start_again(self, key: str) -> None:
        if key not in self._restarting or key in self.actors:
            return  # a message was quicker
        try:
            self.actors.start(key)
        except Overloaded as error:
            self._restarting.discard(key)
            self._tell(ev.ChildStartFailed(key, raised(error)))

    def _stop_child(self, key: str, how: ev.How) -> None:
        if key in self._restarting:
            self._restarting.discard(key)
            self._tell(ev.ChildStartFailed(key, SHUTDOWN))
        elif how == "kill":
            self._killing.add(key)
            if not self.actors.kill(key):
                self._killing.discard(key)
                self._exited(key, SHUTDOWN)
        else:
            self.actors.retire(key)
            if key not in self.actors:
                self._exited(key, SHUTDOWN)
            else:
                if not self._leaving:
                    self._loop.call_later(_LEAVE_POLL_S, self._look_who_left)
                self._leaving.add(key)

    def _look_who_left(self) -> None:
        for key in [key for key in self._leaving if key not in self.actors]:
            self._exited(key, SHUTDOWN)
        if self._leaving:
            self._loop.call_later(_LEAVE_POLL_S, self._look_who_left)

    def _end(self, reason: ExitReason) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.ended.set_result(reason)


def exit_reason(crash: Crash) -> ExitReason:
    """The end of a light actor in the vocabulary of supervisors."""
    if crash.reason == "killed":
        return _KILLED
    kind, _, text = crash.reason.partition(": ")
    return ExitReason("exception", (kind, text, crash.traceback))
