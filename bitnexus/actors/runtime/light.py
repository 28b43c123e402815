"""Light actors: many objects with a mailbox inside one process, each as cheap as a BEAM process.

An actor is an object with a synchronous :meth:`LightActor.receive`. It has no task, no queue and no timer of its own;
its mailbox exists only while there is something in it. :class:`LightActors` is the table of them and their scheduler,
without I/O: the time, the function that schedules and the one that starts a load are passed in
(:mod:`bitnexus.actors.runtime.light_loop` gives it those of an asyncio loop).

What holds:

- **Order.** Messages to one key are received in the order of :meth:`LightActors.tell`, also those that arrive while the
  actor is being activated.
- **Fairness.** A turn takes at most `actor_messages` messages of one actor before the next one's turn comes, and
  at most `turn_messages` in all; then the loop gets the word, so I/O is never kept waiting longer than that.
- **Isolation.** An exception ends that actor alone. It is reported with its reason and the head of its traceback. The
  message that it died of is handed to `undelivered`; those still queued go to a fresh actor, rebuilt from durable
  state, or to `undelivered` too: `crashed` decides.
- **Bounds.** Mailbox, actors, activations, timers, requests: above each of them Overloaded comes before any effect.
- **Passivation.** An idle actor is forgotten after `idle_s`, or earlier when the table is full, the one idle longest
  first; never one that has messages or requests or says that it is `busy`. Whatever it knew must be durable. Its
  timers stay: it is activated again when they fire.
- **Nothing is lost.** Every message told is received once, or handed to `undelivered` once; every request comes back
  once (:mod:`bitnexus.actors.runtime.light_requests`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Generic

from bitnexus.actors.runtime.light_actor import (
    ACTIVE,
    ENDED,
    SUSPENDED,
    C,
    Counters,
    Crash,
    LightActor,
    Limits,
    M,
    Out,
    Owner,
    S,
    died,
)
from bitnexus.actors.runtime.light_requests import Ask, OnReply
from bitnexus.actors.runtime.light_scheduler import LightScheduler
from bitnexus.actors.runtime.light_timers import Timer
from bitnexus.errors import Overloaded

__all__ = ["Ask", "C", "Counters", "Crash", "LightActor", "LightActors", "Limits", "M", "Out", "Owner", "S", "Timer"]


class LightActors(LightScheduler[M, C, Out, S], Generic[M, C, Out, S]):
    """The table and the scheduler. Everything is called from one thread.

    `schedule(f)` calls `f()` soon, once (as `loop.call_soon`). `start_load(keys)` starts reading the durable states of
    `keys` (at most `load_batch`) and ends in :meth:`loaded` or :meth:`load_failed` with the same keys; None when actors
    have no durable state: then they start at once. `alarm` has :meth:`fire` called when a timer is due (None: there is
    no clock but what `sweep` and `fire` are told, and somebody calls `fire` often enough).
    """

    __slots__ = ()

    # -- requests ---------------------------------------------------------------------------------------------

    def ask(self, key: str, message: M, on_reply: OnReply, *, timeout_s: float | None = None) -> Ask:
        """Ask from outside: `on_reply` is called once, with the answer or a BitNexusError, and must not raise.

        Raises Overloaded before any effect. Actors ask by returning an Ask.
        """
        ask = Ask(key, message, timeout_s)
        self._requests.begin_outside(ask, on_reply)
        return ask

    def answer(self, ask: Ask, result: object) -> None:
        """Answer, by a message or a BitNexusError, what an actor did not answer at once; a second answer is dropped."""
        self._requests.answer(ask, result)

    # -- timers -----------------------------------------------------------------------------------------------

    @property
    def timers(self) -> int:
        """How many timers are pending."""
        return len(self._timers)

    def start_timer(self, key: str, message: M, context: C, *, delay_s: float) -> Timer:
        """Tell `message` to the actor `key` after `delay_s`, never earlier; it is activated for it if need be.

        The timer outlives passivation and, as queued messages do, a crash. Raises Overloaded when the table or this
        actor has too many, or too much waits in its mailbox.
        """
        actor = self._actors.get(key)
        waiting = 0 if actor is None or actor.mailbox is None else len(actor.mailbox)
        if len(self._timers) >= self.limits.timers:
            self._refuse("too many timers")
        if (
            self._timers.of(key) >= self.limits.actor_timers
            or waiting >= self._mailbox_bound + self.limits.actor_timers
        ):
            self._refuse("too many timers of this actor")
        timer = Timer(key, message, context, self._alarm.now_s() + delay_s)
        self._timers.start(timer)
        self._alarm.set(timer.due_s)
        return timer

    def cancel_timer(self, timer: Timer) -> bool:
        """True if it had not fired: its message will not be received, and nobody is told."""
        return self._timers.cancel(timer)

    def fire(self, now_s: float) -> None:
        """Tell the messages of the timers that are due, at most `turn_timers`; called when the alarm rings.

        While the table is full of actors at work, due timers wait a tick and are tried again.
        """
        self._now_s = max(self._now_s, now_s)
        self._alarm.rang()
        at_most = self.limits.turn_timers
        self._requests.expire(now_s, at_most)
        not_before_s = now_s
        try:
            for timer in self._timers.due(now_s, at_most):
                self.tell(timer.key, timer.message, timer.context, bounded=False)
                self.counters.fired += 1
        except Overloaded:
            not_before_s = now_s + self.limits.tick_s
        if (due_s := self._timers.next_due_s) is not None:
            self._alarm.set(max(due_s, not_before_s))
        if (due_s := self._requests.timeouts.next_due_s) is not None:
            self._alarm.set(due_s)

    # -- operators' commands, by name -------------------------------------------------------------------------

    def page(self, offset: int = 0, limit: int = 100) -> Sequence[LightActor[M, C, Out]]:
        """Active actors, the one activated longest ago first. What ends between two pages moves the next one up."""
        return list(islice(self._actors.values(), offset, offset + limit))

    def find(self, key: str) -> LightActor[M, C, Out] | None:
        """The active actor of this name: to be looked at, not to be called."""
        return self._actors.get(key)

    def is_suspended(self, key: str) -> bool:
        """True for a suspended name, whether its actor is active or not."""
        return key in self._suspended

    def suspended(self) -> list[str]:
        """The suspended names, in no particular order; as many as `limits.suspended` at most."""
        return list(self._suspended)

    def timers_of(self, key: str) -> int:
        """How many timers of this name are pending."""
        return self._timers.of(key)

    def suspend(self, key: str) -> None:
        """Let the actor of this name receive nothing until :meth:`resume`; its messages wait, bounded.

        It holds for the name: for a fresh actor after a kill too, and for one that is not active yet. A suspended actor
        is not passivated. Raises Overloaded when too many names are suspended.
        """
        if key in self._suspended:
            return
        if len(self._suspended) >= self.limits.suspended:
            self._refuse("too many actors are suspended")
        self._suspended.add(key)
        actor = self._actors.get(key)
        if actor is None or actor.status == ENDED:
            return
        actor.status = SUSPENDED
        if actor.mailbox is None:
            actor.mailbox = []  # so that nothing makes it runnable
        elif actor is not self._running:
            self._run.remove(actor)

    def resume(self, key: str) -> None:
        """Let a suspended actor go on with what waited; nothing happens for any other."""
        if key not in self._suspended:
            return
        self._suspended.discard(key)
        actor = self._actors.get(key)
        if actor is None or actor.status == ENDED:
            return
        actor.status = ACTIVE
        if actor is self._running:
            return
        if actor.mailbox:
            self._run.append(actor)
            if not self._turn_scheduled:
                self._schedule_turn()
        else:
            actor.mailbox = None
            self.settled(actor)

    def kill(self, key: str, reason: str = "killed") -> bool:
        """End the actor now, as a crash with this reason does; False when it is not there.

        What it is receiving at this moment, it ends. Its supervisor hears of it and decides about what is queued.
        """
        crash = Crash(key, reason, "", "")
        actor = self._actors.get(key)
        if actor is not None and actor.status != ENDED:
            if actor is self._running:
                actor.status = ENDED
                self._killed = crash
            else:
                self._end(actor, actor.mailbox or [], crash)
            return True
        messages = None if self._activations is None else self._activations.waiting.pop(key, None)
        if messages is None:
            return False
        if self._report(crash):
            self._activate(key, messages)
        else:
            self._fail(key, messages, died())
            self._fail_timers(key)
        return True
