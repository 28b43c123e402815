"""The tokens that a client has now.

They are exchanged one at a time: a refresh token that is used twice ends its session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bitnexus.http.client.models import Session


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token, and what it can be renewed with ("": nothing). Keep them secret."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)


class TokenHolder:
    """`on_change` is told of each new pair (None after a logout), so that it can be kept."""

    def __init__(self, tokens: Tokens | None, on_change: Callable[[Tokens | None], None] | None) -> None:
        self.now = tokens
        self._on_change = on_change
        self.turn = asyncio.Lock()

    def take(self, session: Session) -> None:
        """These are good from now on."""
        self._set(Tokens(session.access_token, session.refresh_token))

    def forget(self) -> None:
        """None is good any more."""
        self._set(None)

    def _set(self, tokens: Tokens | None) -> None:
        self.now = tokens
        if self._on_change is not None:
            self._on_change(tokens)
