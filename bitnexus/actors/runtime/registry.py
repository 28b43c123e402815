"""The names of the node: who holds which name, and who is told when that changes. Pure.

It lives in the root supervisor. A name is held as long as the connection over which it was registered; the death of its
process closes that connection, so everybody hears of it within milliseconds.
"""

from __future__ import annotations

from collections.abc import Hashable

from bitnexus.actors.runtime.message import Names, NamesChanged, ProcessInfo


class Registry:
    """Members are the connections (any hashable) that are told of changes; some of them hold a name."""

    def __init__(self) -> None:
        self._held: dict[Hashable, ProcessInfo] = {}
        self._members: set[Hashable] = set()

    def names(self) -> Names:
        """Every registered process."""
        return Names(list(self._held.values()))

    def name_of(self, member: Hashable) -> str | None:
        """The name that it holds, or None."""
        info = self._held.get(member)
        return None if info is None else info.name

    def members(self) -> list[Hashable]:
        """Who is to be told of changes."""
        return list(self._members)

    def register(self, member: Hashable, info: ProcessInfo | None) -> NamesChanged | None:
        """Take up `member`, and its name if it has one. Returns what the others must hear.

        Whoever held the name before is dead, or as good as: the newest holder wins.
        """
        self._members.add(member)
        if info is None or self._held.get(member) == info:
            return None
        down = [self._held.pop(member)] if member in self._held else []
        for other, held in list(self._held.items()):
            if held.name == info.name:
                down.append(self._held.pop(other))
        self._held[member] = info
        return NamesChanged([info], down)

    def lost(self, member: Hashable) -> NamesChanged | None:
        """The connection of `member` is gone. Returns what the others must hear."""
        self._members.discard(member)
        info = self._held.pop(member, None)
        return None if info is None else NamesChanged([], [info])
