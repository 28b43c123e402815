"""Limits: front → user's transaction actor → PostgreSQL."""

from __future__ import annotations

from bitnexus.actors.runtime.message import Message


class Limit(Message, frozen=True, tag="Limit/1"):
    """What a user may transfer of one asset, in minor units: at once, and from midnight to midnight UTC; None: all."""

    asset: str
    per_transfer: int | None = None
    per_day: int | None = None


class SetLimits(Message, frozen=True, tag="SetLimits/1"):
    """Have these limits, and no others, hold for a user from now on, also for an actor that is active.

    Answered by :class:`LimitsSet` once it is durable; Forbidden unless an admin asks (`role`, `set_by`), NotFound
    without such a user, PreconditionFailed unless the present limits are of one of the versions (None: of any) or are
    these already. Repeating it is harmless.
    """

    user_id: str
    role: str
    set_by: str
    limits: list[Limit]
    if_versions: list[int] | None = None


class LimitsSet(Message, frozen=True, tag="LimitsSet/1"):
    """The limits of a user, and what of the limited assets was spent on `day` (days since 1970) up to `as_of_seq`."""

    user_id: str
    version: int
    limits: list[Limit]
    spent: dict[str, int]
    day: int
    as_of_seq: int
