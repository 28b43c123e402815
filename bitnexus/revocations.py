"""Which access tokens are refused before their time: those of revoked sessions and of deleted users. Pure.

An access token carries its own proof, so nobody is asked about it; this is the list of exceptions that each front
keeps. An entry ends with the last token it is about. The list is bounded: beyond `most` entries the oldest ones are
merged into one rule, "whatever was issued before then", which refuses too much rather than too little: clients refresh
their tokens and go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST: Final = 100_000  # some 20 MB


@dataclass(frozen=True, slots=True)
class Revoked:
    """A session or a user, by its id: revoked at a time, and no token of it lives beyond `until` (s since 1970)."""

    id: str
    revoked_at: float
    until: float


class Revocations:
    """The revoked ids that are still of account."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[str, Revoked] = {}
        self._merged_until = 0.0

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    @property
    def merged_until(self) -> float:
        """All tokens that were issued until then (s since 1970) are refused; 0 as long as the list has room."""
        return self._merged_until

    def add(self, revoked: Iterable[Revoked]) -> frozenset[str]:
        """Take these in; the ids of those that are new."""
        new = {each.id: each for each in revoked if each.id not in self._entries}
        self._entries |= new
        too_many = len(self._entries) - self._most
        if too_many > 0:
            for each in sorted(self._entries.values(), key=lambda entry: entry.revoked_at)[:too_many]:
                del self._entries[each.id]
                self._merged_until = max(self._merged_until, each.revoked_at)
        return frozenset(new)

    def forget(self, now: float) -> None:
        """Let go of the entries whose tokens have all expired."""
        self._entries = {id_: each for id_, each in self._entries.items() if each.until > now}

    def refuses(self, *, session_id: str, user_id: str, issued_at: float) -> bool:
        """Whether a token of this session ("" for none) and user, issued then, is refused."""
        return session_id in self._entries or user_id in self._entries or issued_at <= self._merged_until
