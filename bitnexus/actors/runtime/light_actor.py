"""What a light actor is, what its owner does for it, and the bounds of a table of them (see light.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from bitnexus.actors.runtime.reasons import raised
from bitnexus.errors import BitNexusError, RuntimeFault

M = TypeVar("M")  # messages
C = TypeVar("C")  # the context that goes with a message (who asked; how to answer)
Out = TypeVar("Out")  # what receive returns: the messages out
S = TypeVar("S")  # the durable state that an actor is rebuilt from
S_contra = TypeVar("S_contra", contravariant=True)


# What an actor's `status` says. Zero is the usual one: the scheduler asks before every message.
ACTIVE: Final = 0
SUSPENDED: Final = 1
ENDED: Final = 2


class LightActor(ABC, Generic[M, C, Out]):
    """Base class; a subclass declares `__slots__` to stay cheap and implements :meth:`receive`.

    The attributes belong to the table: `mailbox` is None while the actor is idle, `pending` counts its requests and
    those put to it that are not answered, `used` is the tick of its last use.
    """

    __slots__ = ("key", "mailbox", "pending", "status", "used")

    def __init__(self, key: str) -> None:
        self.key = key
        self.mailbox: list[tuple[M, C]] | None = None
        self.pending = 0
        self.status = ACTIVE
        self.used = 0

    @abstractmethod
    def receive(self, message: M, context: C) -> Out | None:
        """Take one message; return what is to go out, or None. Must neither block nor await."""

    @property
    def busy(self) -> bool:
        """True while work of this actor is in flight elsewhere: it is not passivated then."""
        return False

    def summary(self) -> Mapping[str, object]:
        """What operators may see of its state: small, and without secrets."""
        return {}

    @property
    def ended(self) -> bool:
        """True once it is no longer in its table."""
        return self.status == ENDED

    @property
    def in_use(self) -> bool:
        """True while it has messages, is suspended, owes or awaits an answer, or is busy."""
        return self.mailbox is not None or self.pending > 0 or self.busy


@dataclass(frozen=True, slots=True)
class Crash:
    """The end of a light actor by an exception or by `kill`, as told to its supervisor."""

    key: str
    reason: str  # type and text of the exception; "killed"
    traceback: str  # its head, as in an exit reason: without source lines, which cost 50 µs to find
    message: str  # type of the message it was at, "" when it was at none


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
    timers: int = 500_000  # of all actors
    actor_timers: int = 64  # of one actor
    turn_timers: int = 256  # that fire in one turn
    actor_pending: int = 64  # requests of one actor, and those put to it, that wait for their answer
    suspended: int = 10_000  # names


class Owner(Protocol[M, C, Out, S_contra]):
    """What the owner of a table does for it."""

    def make(self, key: str, state: S_contra | None) -> LightActor[M, C, Out]:
        """A fresh actor from its durable state (None: there is none). May raise: that is a crash of this actor."""

    def emit(self, actor: LightActor[M, C, Out], output: Out, context: C) -> None:
        """Send what `receive` returned. An exception here counts as the actor's."""

    def undelivered(self, key: str, message: M, context: C, error: BitNexusError) -> None:
        """A message that no actor will receive (again): answer whoever waits for it. Must not raise."""

    def crashed(self, crash: Crash, context: C | None) -> bool:
        """An actor ended, at the message of this context (None: when it was at none).

        True: hand its queued messages to a fresh one; False: they and its timers' are `undelivered`. Must neither
        raise nor tell.
        """


@dataclass(slots=True)
class Counters:
    """What happened so far."""

    started: int = 0
    passivated: int = 0
    crashed: int = 0  # killed ones too
    received: int = 0
    refused: int = 0
    fired: int = 0  # timers


def died() -> RuntimeFault:
    """What those hear who waited for an actor that ended."""
    # Not ProcessDown: a caller that repeats across deaths would feed the same message to every fresh actor.
    return RuntimeFault("The actor of this request ended unexpectedly")


def crash_by(error: Exception, key: str, message: str = "") -> Crash:
    """The crash of `key` by an exception, at a message of this type."""
    kind, text, head = raised(error).parts
    return Crash(key, f"{kind}: {text}", head, message)
