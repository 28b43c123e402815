"""Access tokens that are refused before their time, as the processes of a node tell each other.

A process that takes clients verifies their tokens by itself, and has no database to ask: whoever has one tells it (see
operations/revoked_tokens.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from bitnexus.actors.runtime.message import Message
from bitnexus.revocations import Revoked


class TokensRevoked(Message, frozen=True, tag="TokensRevoked/1"):
    """Refuse the tokens of these sessions and users, and cut off the clients that showed one; see `Revoked`."""

    is_control: ClassVar[bool] = True

    ids: list[str]
    revoked_at: list[float]
    until: list[float]

    @classmethod
    def of(cls, revoked: Iterable[Revoked]) -> Self:
        """The message about these."""
        all_of_them = list(revoked)
        return cls(
            [each.id for each in all_of_them],
            [each.revoked_at for each in all_of_them],
            [each.until for each in all_of_them],
        )

    def entries(self) -> list[Revoked]:
        """What it is about."""
        return [Revoked(*entry) for entry in zip(self.ids, self.revoked_at, self.until, strict=True)]
