"""The scheduler of light actors: mailboxes, turns, activation, the end of an actor. Pure (see light.py)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from bitnexus.actors.runtime.light_activation import Activations, Schedule, StartLoad
from bitnexus.actors.runtime.light_actor import (
    ACTIVE,
    ENDED,
    SUSPENDED,
    C,
    Crash,
    LightActor,
    Limits,
    M,
    Out,
    Owner,
    S,
    crash_by,
    died,
)
from bitnexus.actors.runtime.light_requests import Ask, Requests
from bitnexus.actors.runtime.light_statistics import LightStatistics
from bitnexus.actors.runtime.light_table import LightTable
from bitnexus.actors.runtime.light_timers import Alarm, Timers
from bitnexus.errors import BitNexusError


def _nobody_wakes(due_s: float) -> None:
    """Somebody calls `fire` often enough."""


class LightScheduler(LightTable[M, C, Out], Generic[M, C, Out, S]):
    """What happens to messages. Base of LightActors, which describes its arguments."""

    # fmt: off
    __slots__ = (
        "_activations", "_actor_messages", "_alarm", "_killed", "_mailbox_bound", "_owner", "_requests", "_run",
        "_running", "_schedule", "_suspended", "_timers", "_turn_scheduled", "may_activate", "statistics",
    )
    # fmt: on

    def __init__(
        self,
        owner: Owner[M, C, Out, S],
        limits: Limits,
        *,
        now_s: float,
        schedule: Schedule,
        start_load: StartLoad | None = None,
        alarm: Alarm | None = None,
    ) -> None:
        super().__init__(limits, now_s)
        #: Set it to note what each actor does, None to stop that.
        self.statistics: LightStatistics | None = None
        #: Called with the key of an actor that a message is to activate; raises what its sender is to hear instead.
        self.may_activate: Callable[[str], None] | None = None
        self._owner = owner
        self._schedule = schedule
        self._alarm = alarm or Alarm(lambda: self._now_s, _nobody_wakes)
        self._run: deque[LightActor[M, C, Out]] = deque()
        self._running: LightActor[M, C, Out] | None = None
        self._killed = Crash("", "", "", "")  # of the running actor, by what it did itself
        self._turn_scheduled = False
        self._activations: Activations[M, C] | None = start_load and Activations(limits, schedule, start_load)
        self._requests = Requests(self, self._alarm, limits.actor_pending)
        self._timers = Timers()
        self._suspended: set[str] = set()
        # Read for every message.
        self._mailbox_bound = limits.mailbox
        self._actor_messages = limits.actor_messages

    def __contains__(self, key: str) -> bool:
        """True when the actor is active or being activated."""
        return key in self._actors or self.is_activating(key)

    def keys(self) -> list[str]:
        """The keys of all actors that are active or being activated."""
        return [*self._actors, *(() if self._activations is None else self._activations.waiting)]

    @property
    def activating(self) -> int:
        """How many actors wait for their durable state."""
        return 0 if self._activations is None else len(self._activations.waiting)

    @property
    def runnable(self) -> int:
        """How many actors have messages waiting for a turn."""
        return len(self._run)

    def is_activating(self, key: str) -> bool:
        """True while the actor waits for its durable state."""
        return self._activations is not None and key in self._activations.waiting

    # -- messages ---------------------------------------------------------------------------------------------

    def tell(self, key: str, message: M, context: C, *, bounded: bool = True) -> None:
        """Queue a message for the actor `key`, which is activated if need be.

        With `bounded=False` the mailbox's bound does not apply: for answers to what the actor itself has asked, whose
        number the actor bounds. Raises Overloaded, before any effect, when a bound is reached.
        """
        actor = self._actors.get(key)
        if actor is None:
            self._tell_inactive(key, message, context, bounded=bounded)
            return
        mailbox = actor.mailbox
        if mailbox is None:
            actor.mailbox = [(message, context)]
            self._run.append(actor)
            if not self._turn_scheduled:
                self._schedule_turn()
        elif bounded and len(mailbox) >= self._mailbox_bound:
            self._refuse("too many messages wait for this actor")
        else:
            mailbox.append((message, context))

    def deliver(self, key: str, message: M, context: C, *, bounded: bool = True) -> None:
        """As :meth:`tell`, but an actor that has nothing to do receives it now, unless another one is receiving.

        For what has just come in, one message at a time: a turn of its own would cost more than the message. What
        actors tell each other waits for a turn.
        """
        actor = self._actors.get(key)
        if actor is None or actor.mailbox is not None or self._running is not None or self.statistics is not None:
            self.tell(key, message, context, bounded=bounded)
            return
        actor.mailbox = [(message, context)]
        try:
            self.counters.received += self._run_actor(actor, 1)
        finally:
            self._running = None
            if self._run and not self._turn_scheduled:  # it has told somebody something
                self._schedule_turn()

    def enqueue(self, actor: LightActor[M, C, Out], message: Any, context: Any) -> None:
        """Queue a message for this very actor, which has not ended, whatever waits already."""
        if actor.mailbox is None:
            actor.mailbox = [(message, context)]
            self._run.append(actor)
            if not self._turn_scheduled:
                self._schedule_turn()
        else:
            actor.mailbox.append((message, context))

    def _tell_inactive(self, key: str, message: M, context: C, *, bounded: bool) -> None:
        waiting = None if self._activations is None else self._activations.waiting.get(key)
        if waiting is None:
            if self.may_activate is not None:
                self.may_activate(key)
            self._admit()
            self._activate(key, [(message, context)])
        elif bounded and len(waiting) >= self._mailbox_bound:
            self._refuse("too many messages wait for this actor")
        else:
            waiting.append((message, context))

    def undelivered(self, key: str, message: M, context: C, error: BitNexusError) -> None:
        """Answer a request that will not be received; anything else is the owner's to answer."""
        if isinstance(context, Ask):
            self._requests.answer(context, error)
        else:
            self._owner.undelivered(key, message, context, error)

    # -- turns ------------------------------------------------------------------------------------------------

    def _schedule_turn(self) -> None:
        self._turn_scheduled = True
        self._schedule(self.run_turn)

    def run_turn(self) -> None:
        """Let runnable actors receive, each a few messages, then give the loop the word."""
        budget = turn = self.limits.turn_messages
        share = self._actor_messages
        run, run_actor, statistics = self._run, self._run_actor, self.statistics
        try:
            while run and budget > 0:
                actor = run.popleft()
                if statistics is None:
                    budget -= run_actor(actor, share if budget > share else budget)  # noqa: FURB136 - min() is a call
                else:
                    budget -= statistics.run(run_actor, actor, min(share, budget))
        finally:
            self._running = None
            self._turn_scheduled = False
            self.counters.received += turn - budget
            if run:
                self._schedule_turn()

    def _run_actor(self, actor: LightActor[M, C, Out], at_most: int) -> int:  # noqa: C901, PLR0912 - the hot path
        mailbox = actor.mailbox
        if mailbox is None:  # it was killed while it waited for its turn
            return 0
        actor.used = self._wheel.tick
        self._running = actor
        done = 0
        count = len(mailbox)
        if count > at_most:  # noqa: PLR1730 - min() is a call
            count = at_most
        try:
            while done < count:
                message, context = mailbox[done]
                done += 1
                output = actor.receive(message, context)
                if output is not None:
                    if isinstance(output, Ask):
                        self._requests.begin(actor, output, context)
                    elif isinstance(context, Ask):
                        self._requests.answer(context, output)
                    else:
                        self._owner.emit(actor, output, context)
                elif isinstance(context, Ask) and context.result is None:
                    self._requests.owe(actor, context)
                if actor.status:
                    break  # killed or suspended, by what it did itself
        except Exception as error:  # noqa: BLE001 - isolation: whatever it is, it ends this actor alone
            crash = crash_by(error, actor.key, type(mailbox[done - 1][0]).__name__)
            self._end(actor, mailbox[done:], crash, mailbox[done - 1])
            return done
        if len(mailbox) > done or actor.status:
            self._leave(actor, mailbox, done)
        else:
            actor.mailbox = None
            if self._retiring:
                self.settled(actor)
        return done

    def _leave(self, actor: LightActor[M, C, Out], mailbox: list[tuple[M, C]], done: int) -> None:
        """Its share of the turn is over, or it was stopped, before its mailbox was empty."""
        if actor.status == ENDED:
            self._end(actor, mailbox[done:], self._killed)
            return
        del mailbox[:done]
        if actor.status == ACTIVE:
            self._run.append(actor)

    # -- the end of an actor ----------------------------------------------------------------------------------

    def _end(
        self, actor: LightActor[M, C, Out], queued: list[tuple[M, C]], crash: Crash, at: tuple[M, C] | None = None
    ) -> None:
        key = actor.key
        self._forget(actor)
        # What this one has asked is of no use to the next one.
        answers = [(message, context) for message, context in queued if type(message) is Ask]
        if answers:
            queued = [pair for pair in queued if type(pair[0]) is not Ask]
        again = self._report(crash, None if at is None else at[1])
        # First what is queued, so that a message told while the failed one is answered comes behind it.
        if queued and again:
            self._activate(key, queued)
        self._fail(key, [] if at is None else [at], died())
        self._fail(key, answers, died())
        self._requests.ended(actor)
        if not again:
            self._fail(key, queued, died())
            self._fail_timers(key)

    def _report(self, crash: Crash, context: C | None = None) -> bool:
        self.counters.crashed += 1
        return self._owner.crashed(crash, context)

    def _fail(self, key: str, messages: Sequence[tuple[M, C]], error: BitNexusError) -> None:
        for message, context in messages:
            self.undelivered(key, message, context, error)

    def _fail_timers(self, key: str) -> None:
        for timer in self._timers.cancel_all(key):
            self.undelivered(key, timer.message, timer.context, died())

    # -- activation -------------------------------------------------------------------------------------------

    def start(self, key: str) -> bool:
        """Have the actor active without a message; False when it was already. Raises Overloaded."""
        if key in self:
            return False
        self._admit()
        self._activate(key, [])
        return True

    def _admit(self) -> None:
        if self._activations is None:
            taken = len(self._actors)
        else:
            waiting = len(self._activations.waiting)
            if waiting >= self.limits.max_activating:
                self._refuse("too many actors are being activated")
            taken = len(self._actors) + waiting
        if taken >= self.limits.max_actors:
            self._make_room()

    def _activate(self, key: str, messages: list[tuple[M, C]]) -> None:
        if self._activations is None:
            self._start(key, None, messages)
        else:
            self._activations.begin(key, messages)

    def loaded(self, keys: Sequence[str], states: Mapping[str, S]) -> None:
        """The durable states of `keys` are there; a key that `states` lacks has none."""
        assert self._activations is not None
        for key, messages in self._activations.ended(keys):
            self._start(key, states.get(key), messages)

    def load_failed(self, keys: Sequence[str], error: Exception) -> None:
        """The states of `keys` could not be read: what waited for them is `undelivered`.

        A BitNexusError is passed to those who wait; anything else is reported as a crash of each actor.
        """
        assert self._activations is not None
        for key, messages in self._activations.ended(keys):
            if isinstance(error, BitNexusError):
                self._fail(key, messages, error)
            else:
                self._not_started(key, messages, error)

    def _start(self, key: str, state: S | None, messages: list[tuple[M, C]]) -> None:
        try:
            actor = self._owner.make(key, state)
        except Exception as error:  # noqa: BLE001 - isolation, as above
            self._not_started(key, messages, error)
            return
        self.counters.started += 1
        self._actors[key] = actor
        self._wheel.add(actor)
        if self._suspended and key in self._suspended:
            actor.status = SUSPENDED
            actor.mailbox = messages
        elif messages:
            actor.mailbox = messages
            self._run.append(actor)
            if not self._turn_scheduled:
                self._schedule_turn()

    def _not_started(self, key: str, messages: list[tuple[M, C]], error: Exception) -> None:
        again = self._report(crash_by(error, key))
        self._fail(key, messages, died())
        if not again:
            self._fail_timers(key)
