"""Who makes a request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROLES: Final = frozenset({"user", "service", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """The user's id, the role, until when (seconds since 1970) that is vouched for, and by which session ("": none)."""

    user_id: str
    role: str
    expires_at: float
    session_id: str = ""

    @property
    def is_admin(self) -> bool:
        """True for operators."""
        return self.role == "admin"

    @property
    def may_use_world(self) -> bool:
        """True for those who may bring money in and take it out through the world account."""
        return self.role in ("admin", "service")
