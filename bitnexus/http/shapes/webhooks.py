"""The shapes of webhooks."""

from __future__ import annotations

from bitnexus.http.shapes.base import AsOfSeq, Shape, Time, Uuid


class Webhook(Shape):
    """An endpoint of a service; it has been told of the events up to `position`. Without `events` it gets all."""

    id: Uuid
    owner_id: Uuid
    url: str
    description: str
    events: list[str]
    is_active: bool
    disabled_because: str | None
    position: AsOfSeq
    attempts: int
    last_error: str | None
    unavailable_since: Time | None
    delivered_at: Time | None
    dead_letters: int
    inserted_at: Time
    updated_at: Time


class WebhookWithSecret(Webhook):
    """A webhook whose secret is new: it is shown here, and never again."""

    secret: str


class Listed(Shape):
    """All of somebody's webhooks: there are few."""

    data: list[Webhook]


class DeadLetter(Shape):
    """An event that could not be delivered; `replay`: it is about to be sent once more."""

    seq: int
    type: str
    attempts: int
    error: str
    replay: bool
    died_at: Time


class Replays(Shape):
    """How many dead letters are sent once more."""

    replays: int
