"""Who is present in which topic, at all fronts: what each of them holds, and the differences to tell. Pure.

Every front knows best who is connected to it, and tells the others the whole of it whenever it changes; so nothing is
to be put right after a loss, and a front that is gone takes its presences with it. What readers get are
Phoenix.Presence's `presence_state` and `presence_diff`: key → metas, each with a `phx_ref` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bitnexus.http.channels.operators.messages import Presence


@dataclass(frozen=True, slots=True)
class Difference:
    """Who came to a topic and who left it; one of the two may be nobody."""

    topic: str
    joins: tuple[Presence, ...] = ()
    leaves: tuple[Presence, ...] = ()

    def payload(self) -> dict[str, Any]:
        """As `presence_diff` has it."""
        return {"joins": by_key(self.joins), "leaves": by_key(self.leaves)}


class Presences:
    """Those of this front, and those that others have told of."""

    def __init__(self) -> None:
        self._own: dict[str, Presence] = {}  # by their ref
        self._others: dict[str, tuple[str, dict[str, Presence]]] = {}  # front → which life of it, and its presences

    @property
    def own(self) -> list[Presence]:
        """What the other fronts are to be told."""
        return list(self._own.values())

    def state(self, topic: str) -> dict[str, Any]:
        """As `presence_state` has it."""
        held = [self._own, *(presences for _, presences in self._others.values())]
        return by_key(each for presences in held for each in presences.values() if each.topic == topic)

    def join(self, presence: Presence) -> Difference:
        """One has come to this front."""
        self._own[presence.ref] = presence
        return Difference(presence.topic, joins=(presence,))

    def leave(self, ref: str) -> Difference:
        """It has left; it must have come."""
        presence = self._own.pop(ref)
        return Difference(presence.topic, leaves=(presence,))

    def told(self, front: str, life: str, presences: Iterable[Presence]) -> list[Difference]:
        """Another front holds these and no others."""
        _, before = self._others.get(front, ("", {}))
        now = {each.ref: each for each in presences}
        self._others[front] = (life, now)
        return _differences(before, now)

    def gone(self, front: str, life: str) -> list[Difference]:
        """That life of another front is over; nothing happens if its successor has told of itself already."""
        known, before = self._others.get(front, ("", {}))
        if known != life:
            return []
        del self._others[front]
        return _differences(before, {})


def by_key(presences: Iterable[Presence]) -> dict[str, Any]:
    """Key → metas."""
    found: dict[str, Any] = {}
    for each in presences:
        meta = {"phx_ref": each.ref, "online_at": each.online_at, "front": each.front}
        found.setdefault(each.key, {"metas": []})["metas"].append(meta)
    return found


def _differences(before: Mapping[str, Presence], now: Mapping[str, Presence]) -> list[Difference]:
    joins = [each for ref, each in now.items() if ref not in before]
    leaves = [each for ref, each in before.items() if ref not in now]
    topics = dict.fromkeys(each.topic for each in (*joins, *leaves))
    return [
        Difference(
            topic,
            tuple(each for each in joins if each.topic == topic),
            tuple(each for each in leaves if each.topic == topic),
        )
        for topic in topics
    ]
