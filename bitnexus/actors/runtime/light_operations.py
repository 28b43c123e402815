"""What operators are shown of light actors, by name. Looking changes nothing; commands are methods of LightActors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bitnexus.actors.runtime.light import LightActor, LightActors
from bitnexus.errors import NoProcess, RuntimeFault

#: Actors on one page at most.
MAX_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class LightActorInfo:
    """One actor as a list shows it."""

    key: str
    status: str  # "idle", "runnable", "busy" or "suspended"
    waiting: int  # messages
    pending: int  # requests of it and to it without an answer
    timers: int


def listed(table: LightActors[Any, Any, Any, Any], offset: int = 0, limit: int = 100) -> list[LightActorInfo]:
    """A page of the active actors, the one activated longest ago first; at most MAX_PAGE."""
    return [described(table, actor) for actor in table.page(offset, min(limit, MAX_PAGE))]


def state_summary(table: LightActors[Any, Any, Any, Any], key: str) -> Mapping[str, object]:
    """The actor's own summary of its state, which holds no secrets.

    Raises NoProcess when no such actor is active (looking does not activate it), RuntimeFault when its summary fails.
    """
    actor = table.find(key)
    if actor is None:
        raise NoProcess(f"no light actor {key!r} is active")
    try:
        return actor.summary()
    except Exception as error:  # an actor must not end by being looked at
        raise RuntimeFault(f"the summary of {key!r} failed: {type(error).__name__}") from error


def described(table: LightActors[Any, Any, Any, Any], actor: LightActor[Any, Any, Any]) -> LightActorInfo:
    """An active actor as a list shows it."""
    if table.is_suspended(actor.key):
        status = "suspended"
    elif actor.mailbox is not None:
        status = "runnable"
    else:
        status = "busy" if actor.in_use else "idle"
    return LightActorInfo(actor.key, status, len(actor.mailbox or ()), actor.pending, table.timers_of(actor.key))
