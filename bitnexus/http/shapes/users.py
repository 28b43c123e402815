"""The shapes of users and of their sessions."""

from __future__ import annotations

from typing import Literal

from bitnexus.http.shapes.base import Shape, Time, Uuid


class User(Shape):
    """A user."""

    id: Uuid
    email: str
    name: str
    role: Literal["user", "service", "admin"]
    inserted_at: Time
    updated_at: Time


class NewUser(User):
    """A user just made; `account_id` is null if the account could not be opened in time: it will be, later."""

    account_id: Uuid | None


class Session(Shape):
    """What a login or a refresh gives. The refresh token is good for one use."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    user: User


class AssetLimit(Shape):
    """What may be transferred of one asset, in minor units: in one transfer, and on one day (UTC). null: all."""

    asset: str
    per_transfer: int | None
    per_day: int | None


class Limits(Shape):
    """The limits of a user; of an asset that is not among them there is none."""

    limits: list[AssetLimit]
