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
- **Bounds.** Mailbox, actors, activations: above each of them `tell` raises Overloaded before any effect.
- **Passivation.** An idle actor is forgotten after `idle_s`, or earlier when the table is full, the one idle longest
  first; never one that has messages or says that it is `busy`. Whatever it knew must be durable.
- **Nothing is lost.** Every message told is received once, or handed to `undelivered` once.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bitnexus.actors.runtime.idle_wheel import IdleWheel
from bitnexus.errors import BitNexusError, Overloaded, RuntimeFault

M = TypeVar("M")  # messages
C = TypeVar("C")  # the context that goes with a message (who asked; how to answer)
Out = TypeVar("Out")  # what receive returns: the messages out
S = TypeVar("S")  # the durable state that an actor is rebuilt from
S_contra = TypeVar("S_contra", contravariant=True)

TRACEBACK_LINES = 20


class LightActor(ABC, Generic[M, C, Out]):
    """Base class; a subclass declares `__slots__` to stay cheap and implements :meth:`receive`."""

    __slots__ = ("ended", "key", "mailbox", "used")

    def __init__(self, key: str) -> None:
        self.key = key
        self.mailbox: list[tuple[M, C]] | None = None
        self.used = 0
        self.ended = False

    @abstractmethod
    def receive(self, message: M, context: C) -> Out | None:
        """Take one message; return what is to go out, or None. Must neither block nor await."""

    @property
    def busy(self) -> bool:
        """True while work of this actor is in flight elsewhere: it is not passivated then."""
        return False

    @property
    def in_use(self) -> bool:
        """True while it has messages or is busy."""
        return self.mailbox is not None or self.busy


@dataclass(frozen=True, slots=True)
class Crash:
    """The end of a light actor by an exception, as told to its supervisor."""

    key: str
    reason: str  # type and text of the exception
    traceback: str  # its head: at most TRACEBACK_LINES lines
    message: str  # type of the message it was at, "" when it was being activated


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a table of light actors."""

    max_actors: int = 250_000  # active and being activated
    mailbox: int = 256  # messages waiting for one actor
    actor_messages: int = 16  # of one actor in one turn
    turn_messages: int = 256  # of all actors in one turn: some ms at most
    idle_s: float = 300.0
    tick_s: float = 1.0
    max_activating: int = 20_000
    load_batch: int = 500  # keys of one load
    loads: int = 2  # at the same time
    look_at: int = 256  # actors looked at to make room for one


class Owner(Protocol[M, C, Out, S_contra]):
    """What the owner of a table does for it."""

    def make(self, key: str, state: S_contra | None) -> LightActor[M, C, Out]:
        """A fresh actor from its durable state (None: there is none). May raise: that is a crash of this actor."""

    def emit(self, actor: LightActor[M, C, Out], output: Out, context: C) -> None:
        """Send what `receive` returned. An exception here counts as the actor's."""

    def undelivered(self, key: str, message: M, context: C, error: BitNexusError) -> None:
        """A message that no actor will receive (again): answer whoever waits for it. Must not raise."""

    def crashed(self, crash: Crash, context: C | None) -> bool:
        """An actor ended, at the message of this context (None: when it was being activated).

        True: hand its queued messages to a fresh one; False: they are `undelivered`. Must neither raise nor tell.
        """


@dataclass(slots=True)
class Counters:
    """What happened so far."""

    started: int = 0
    passivated: int = 0
    crashed: int = 0
    received: int = 0
    refused: int = 0


class LightActors(Generic[M, C, Out, S]):
    """The table and the scheduler. Everything is called from one thread.

    `schedule(f)` calls `f()` soon, once (as `loop.call_soon`). `start_load(keys)` starts reading the durable states of
    `keys` (at most `load_batch`) and ends in :meth:`loaded` or :meth:`load_failed` with the same keys; None when actors
    have no durable state: then they start at once.
    """

    def __init__(
        self,
        owner: Owner[M, C, Out, S],
        limits: Limits,
        *,
        now_s: float,
        schedule: Callable[[Callable[[], None]], object],
        start_load: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self.limits = limits
        self.counters = Counters()
        self._owner = owner
        self._schedule = schedule
        self._start_load = start_load
        self._actors: dict[str, LightActor[M, C, Out]] = {}
        self._wheel: IdleWheel[LightActor[M, C, Out]] = IdleWheel(now_s, limits.tick_s)
        self._idle_ticks = max(1, round(limits.idle_s / limits.tick_s))
        self._run: deque[LightActor[M, C, Out]] = deque()
        self._turn_scheduled = False
        self._waiting: dict[str, list[tuple[M, C]]] = {}  # messages of the actors being activated
        self._to_load: deque[str] = deque()
        self._loads = 0
        self._loads_scheduled = False
        self._retiring: set[str] = set()

    def __len__(self) -> int:
        """How many actors are active."""
        return len(self._actors)

    def __contains__(self, key: str) -> bool:
        """True when the actor is active or being activated."""
        return key in self._actors or key in self._waiting

    @property
    def activating(self) -> int:
        """How many actors wait for their durable state."""
        return len(self._waiting)

    @property
    def runnable(self) -> int:
        """How many actors have messages waiting for a turn."""
        return len(self._run)

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
            self._make_runnable(actor)
        elif bounded and len(mailbox) >= self.limits.mailbox:
            self._refuse("too many messages wait for this actor")
        else:
            mailbox.append((message, context))

    def _tell_inactive(self, key: str, message: M, context: C, *, bounded: bool) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            if bounded and len(waiting) >= self.limits.mailbox:
                self._refuse("too many messages wait for this actor")
            waiting.append((message, context))
            return
        if len(self._waiting) >= self.limits.max_activating:
            self._refuse("too many actors are being activated")
        if len(self._actors) + len(self._waiting) >= self.limits.max_actors:
            self._make_room()
        self._activate(key, [(message, context)])

    def _refuse(self, why: str) -> None:
        self.counters.refused += 1
        raise Overloaded(f"The service is overloaded: {why}")

    def _make_runnable(self, actor: LightActor[M, C, Out]) -> None:
        self._run.append(actor)
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._schedule(self.run_turn)

    def run_turn(self) -> None:
        """Let runnable actors receive, each a few messages, then give the loop the word."""
        self._turn_scheduled = False
        budget = self.limits.turn_messages
        run = self._run
        try:
            while run and budget > 0:
                budget -= self._run_actor(run.popleft(), min(budget, self.limits.actor_messages))
        finally:
            if run and not self._turn_scheduled:
                self._turn_scheduled = True
                self._schedule(self.run_turn)

    def _run_actor(self, actor: LightActor[M, C, Out], at_most: int) -> int:
        mailbox = actor.mailbox
        assert mailbox
        actor.used = self._wheel.tick
        done = 0
        count = min(len(mailbox), at_most)
        try:
            while done < count:
                message, context = mailbox[done]
                done += 1
                output = actor.receive(message, context)
                if output is not None:
                    self._owner.emit(actor, output, context)
        except Exception as error:  # noqa: BLE001 - isolation: whatever it is, it ends this actor alone
            self._ended_by(error, actor, mailbox, done)
        else:
            if len(mailbox) > done:
                del mailbox[:done]
                self._run.append(actor)
            else:
                actor.mailbox = None
                if self._retiring and actor.key in self._retiring:
                    self.retire(actor.key)
        self.counters.received += done
        return done

    # -- crashes ----------------------------------------------------------------------------------------------

    def _ended_by(self, error: Exception, actor: LightActor[M, C, Out], mailbox: list[tuple[M, C]], done: int) -> None:
        self._forget(actor)
        message, context = mailbox[done - 1]
        queued = mailbox[done:]
        again = self._report(actor.key, error, type(message).__name__, context)
        # First what is queued, so that a message told while the failed one is answered comes behind it.
        if queued and again:
            self._activate(actor.key, queued)
        self._owner.undelivered(actor.key, message, context, _died())
        if not again:
            self._fail(actor.key, queued, _died())

    def _report(self, key: str, error: Exception, message: str = "", context: C | None = None) -> bool:
        self.counters.crashed += 1
        lines = "".join(traceback.format_exception(error)).splitlines()
        # The innermost frame tells most: the head of the trace as Erlang prints it is the tail of Python's.
        text = "\n".join(lines[-TRACEBACK_LINES:])
        return self._owner.crashed(Crash(key, f"{type(error).__name__}: {error}", text, message), context)

    def _fail(self, key: str, messages: Sequence[tuple[M, C]], error: BitNexusError) -> None:
        for message, context in messages:
            self._owner.undelivered(key, message, context, error)

    # -- activation -------------------------------------------------------------------------------------------

    def _activate(self, key: str, messages: list[tuple[M, C]]) -> None:
        if self._start_load is None:
            self._start(key, None, messages)
            return
        self._waiting[key] = messages
        self._to_load.append(key)
        self._schedule_loads()

    def _schedule_loads(self) -> None:
        # Not at once: all activations of this turn of the loop share a load.
        if self._to_load and not self._loads_scheduled and self._loads < self.limits.loads:
            self._loads_scheduled = True
            self._schedule(self._begin_loads)

    def _begin_loads(self) -> None:
        self._loads_scheduled = False
        assert self._start_load is not None
        while self._to_load and self._loads < self.limits.loads:
            keys = [self._to_load.popleft() for _ in range(min(len(self._to_load), self.limits.load_batch))]
            self._loads += 1
            self._start_load(keys)

    def loaded(self, keys: Sequence[str], states: Mapping[str, S]) -> None:
        """The durable states of `keys` are there; a key that `states` lacks has none."""
        self._loads -= 1
        for key in keys:
            self._start(key, states.get(key), self._waiting.pop(key))
        self._schedule_loads()

    def load_failed(self, keys: Sequence[str], error: Exception) -> None:
        """The states of `keys` could not be read: what waited for them is `undelivered`.

        A BitNexusError is passed to those who wait; anything else is reported as a crash of each actor.
        """
        self._loads -= 1
        for key in keys:
            messages = self._waiting.pop(key)
            if isinstance(error, BitNexusError):
                self._fail(key, messages, error)
            else:
                self._report(key, error)
                self._fail(key, messages, _died())
        self._schedule_loads()

    def _start(self, key: str, state: S | None, messages: list[tuple[M, C]]) -> None:
        try:
            actor = self._owner.make(key, state)
        except Exception as error:  # noqa: BLE001 - isolation, as above
            self._report(key, error)
            self._fail(key, messages, _died())
            return
        self.counters.started += 1
        self._actors[key] = actor
        self._wheel.add(actor)
        actor.mailbox = messages
        self._make_runnable(actor)

    # -- passivation ------------------------------------------------------------------------------------------

    def sweep(self, now_s: float, at_most: int = 5_000) -> bool:
        """Forget actors idle for `idle_s`; True when there may be more than the `at_most` looked at now."""
        self._wheel.advance(now_s)
        before = self._wheel.tick - self._idle_ticks
        while at_most > 0:
            actor, looked = self._take(before, at_most)
            if actor is None:
                return looked >= at_most
            at_most -= looked
        return True

    def retire(self, key: str) -> None:
        """Forget this actor as soon as it is idle, so that it is rebuilt from durable state when needed."""
        actor = self._actors.get(key)
        if actor is None:
            self._retiring.discard(key)
        elif not actor.in_use:
            self._passivate(actor)
        else:
            self._retiring.add(key)

    def _make_room(self) -> None:
        actor, _ = self._take(self._wheel.tick + 1, self.limits.look_at)
        if actor is None:
            self._refuse("too many actors are at work")

    def _take(self, before_tick: int, look_at: int) -> tuple[LightActor[M, C, Out] | None, int]:
        actor, looked = self._wheel.take_oldest(before_tick, look_at)
        if actor is not None:
            self._passivate(actor)
        return actor, looked

    def _passivate(self, actor: LightActor[M, C, Out]) -> None:
        assert actor.mailbox is None
        self.counters.passivated += 1
        self._forget(actor)

    def _forget(self, actor: LightActor[M, C, Out]) -> None:
        actor.ended = True
        del self._actors[actor.key]
        self._retiring.discard(actor.key)


def _died() -> RuntimeFault:
    # Not ProcessDown: a caller that repeats across deaths would feed the same message to every fresh actor.
    return RuntimeFault("The actor of this request ended unexpectedly")
