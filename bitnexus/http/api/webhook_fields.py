"""What webhooks are made of: the rules of their fields, and how answers show them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from bitnexus.actors.representation import timestamp
from bitnexus.http.validation import MAX_SAFE_INTEGER, Model
from bitnexus.storage.webhooks import DeadLetter, Endpoint
from bitnexus.webhooks.addresses import MAX_URL_CHARS
from bitnexus.webhooks.events import ACCOUNT_CHANGED, ACCOUNT_OPENED, TRANSACTION_CREATED, TRANSACTION_UPDATED

Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARS)]
Description = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=500)]
EventType = Annotated[
    str,
    StringConstraints(
        pattern="^(?:"
        + "|".join(
            each.replace(".", r"\.")
            for each in (TRANSACTION_CREATED, TRANSACTION_UPDATED, ACCOUNT_OPENED, ACCOUNT_CHANGED)
        )
        + ")$"
    ),
]
EventTypes = Annotated[list[EventType], Field(max_length=10), AfterValidator(lambda events: sorted(set(events)))]
Seq = Annotated[int, Field(ge=-1, le=MAX_SAFE_INTEGER)]


class NewWebhook(Model):
    """An endpoint; without `events` it gets all of them, without `after_seq` those from now on."""

    url: Url
    description: Description = ""
    events: EventTypes = Field(default_factory=list)
    after_seq: Seq | None = None


class CreateWebhook(Model):
    """The body of POST /webhooks."""

    webhook: NewWebhook


class WebhookChanges(Model):
    """What is to change; what is not given stays. `is_active` true goes on from where it was disabled."""

    url: Url | None = None
    description: Description | None = None
    events: EventTypes | None = None
    is_active: bool | None = None


class UpdateWebhook(Model):
    """The body of PUT and PATCH /webhooks/:id."""

    webhook: WebhookChanges


class Chosen(Model):
    """Dead letters by the positions of their events; all without."""

    seqs: Annotated[list[Seq], Field(max_length=1_000)] | None = None


class CreateReplay(Model):
    """The body of POST /webhooks/:id/replays."""

    replay: Chosen


def webhook_shown(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as answers show it, without its secret."""
    return {
        "id": endpoint.id,
        "owner_id": endpoint.owner_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "is_active": endpoint.is_active,
        "disabled_because": endpoint.disabled_because or None,
        "position": endpoint.position,
        "attempts": endpoint.attempts,
        "last_error": endpoint.last_error or None,
        "unavailable_since": _moment(endpoint.unavailable_since_us),
        "delivered_at": _moment(endpoint.delivered_at_us),
        "dead_letters": endpoint.dead,
        "inserted_at": timestamp(endpoint.inserted_at_us),
        "updated_at": timestamp(endpoint.updated_at_us),
    }


def dead_letter_shown(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as answers show it."""
    return {
        "seq": letter.seq,
        "type": letter.type,
        "attempts": letter.attempts,
        "error": letter.error,
        "replay": letter.replay,
        "died_at": timestamp(letter.died_at_us),
    }


def _moment(time_us: int | None) -> str | None:
    return None if time_us is None else timestamp(time_us)
