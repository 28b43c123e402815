"""Webhooks: where internal services are told of what is recorded. For services, each its own, and for admins."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.actors.representation import timestamp
from bitnexus.errors import Conflict, Forbidden, InvalidFields, NotFound, PreconditionFailed, Violation
from bitnexus.http.etags import etag, is_known, versions_to_match
from bitnexus.http.pages import PageQuery, Place, cursor_of, one_page, page, place_of
from bitnexus.http.routes import Call, Route, data
from bitnexus.http.services import Services
from bitnexus.http.validation import MAX_SAFE_INTEGER, Model
from bitnexus.principal import Principal
from bitnexus.storage import ledger
from bitnexus.storage import webhooks as tables
from bitnexus.storage.database import Executor
from bitnexus.storage.webhooks import DeadLetter, Endpoint
from bitnexus.webhooks.addresses import MAX_URL_CHARS, complaint
from bitnexus.webhooks.events import ACCOUNT_CHANGED, ACCOUNT_OPENED, TRANSACTION_CREATED, TRANSACTION_UPDATED
from bitnexus.webhooks.messages import WEBHOOKS, WebhooksChanged
from bitnexus.webhooks.signing import SALT_BYTES

PATH: Final = "/api/v1/webhooks"
_ROLES: Final = ("service", "admin")

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


class Webhooks:
    """The resource."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        one = PATH + "/{id}"
        return [
            Route("GET", PATH, self.index, "The caller's webhooks; all of them for an admin"),
            Route("POST", PATH, self.create, "Have a service told of what is recorded", body=CreateWebhook),
            Route("GET", one, self.show, "One webhook, and how far it has come"),
            Route("PUT", one, self.update, "Change a webhook", body=UpdateWebhook),
            Route("PATCH", one, self.update, "Change a webhook", body=UpdateWebhook),
            Route("DELETE", one, self.delete, "Tell it nothing more"),
            Route("POST", one + "/rotate", self.rotate, "A new secret; the former one is good for a day"),
            Route("GET", one + "/dead_letters", self.dead, "What could not be delivered", query=PageQuery),
            Route("POST", one + "/replays", self.replay, "Send dead letters once more", body=CreateReplay),
        ]

    async def index(self, call: Call[None, None]) -> web.Response:
        """The caller's, or all; there are few (see storage.webhooks)."""
        owner_id = None if _permitted(call.principal).is_admin else call.principal.user_id
        async with self._services.database.connection() as connection:
            found = await tables.endpoints(connection, owner_id)
        return data([webhook_shown(each) for each in found])

    async def show(self, call: Call[None, None]) -> web.Response:
        """One; 304 if the client has it in this version and at this position."""
        async with self._services.database.connection() as connection:
            endpoint = await self._one(connection, call)
        if is_known(call.request.headers.get("If-None-Match"), _tag(endpoint)):
            return web.Response(status=304, headers={"ETag": _tag(endpoint)})
        return _answer(endpoint)

    async def create(self, call: Call[CreateWebhook, None]) -> web.Response:
        """Add one; its secret is in this answer and in no other.

        Raises:
            InvalidFields: the address is none that may be called.
            Conflict: there are too many.
        """
        wanted, principal = call.body.webhook, _permitted(call.principal)
        self._check(wanted.url)
        endpoint_id, salt = str(uuid.uuid4()), secrets.token_bytes(SALT_BYTES)
        async with self._services.database.connection() as connection, connection.transaction():
            head = await ledger.last_seq(connection)
            added = await tables.insert(
                connection,
                endpoint_id=endpoint_id,
                owner_id=principal.user_id,
                url=wanted.url,
                description=wanted.description,
                events=wanted.events,
                salt=salt,
                position=head if wanted.after_seq is None else min(wanted.after_seq, head),
            )
            if not added:
                raise Conflict(f"There are {tables.MAX_ENDPOINTS} webhooks already")
            endpoint = await tables.by_id(connection, endpoint_id)
        assert endpoint is not None
        self._tell()
        shown = {**webhook_shown(endpoint), "secret": self._services.webhook_secrets.shown(endpoint_id, salt)}
        return data(shown, status=201, headers={"Location": f"{PATH}/{endpoint_id}", "ETag": _tag(endpoint)})

    async def update(self, call: Call[UpdateWebhook, None]) -> web.Response:
        """Change what the body has.

        Raises:
            NotFound, PreconditionRequired, PreconditionFailed, InvalidFields: nothing was changed.
        """
        changes, versions = call.body.webhook, versions_to_match(call.request.headers.get("If-Match"))
        if changes.url is not None:
            self._check(changes.url)
        async with self._services.database.connection() as connection:
            endpoint = await self._one(connection, call)
            if not await tables.update(
                connection,
                endpoint.id,
                versions=versions,
                url=changes.url,
                description=changes.description,
                events=changes.events,
                is_active=changes.is_active,
            ):
                raise PreconditionFailed
            endpoint = await self._one(connection, call)
        self._tell()
        return _answer(endpoint)

    async def delete(self, call: Call[None, None]) -> web.Response:
        """Forget it, and its dead letters.

        Raises:
            NotFound, PreconditionRequired, PreconditionFailed: nothing was changed.
        """
        versions = versions_to_match(call.request.headers.get("If-Match"))
        async with self._services.database.connection() as connection:
            endpoint = await self._one(connection, call)
            if not await tables.delete(connection, endpoint.id, versions=versions):
                raise PreconditionFailed
        self._tell()
        return web.Response(status=204)

    async def rotate(self, call: Call[None, None]) -> web.Response:
        """A new secret, in this answer and in no other; for a day messages are signed by both."""
        salt = secrets.token_bytes(SALT_BYTES)
        async with self._services.database.connection() as connection:
            endpoint = await self._one(connection, call)
            if not await tables.rotate(connection, endpoint.id, salt):
                raise NotFound
            endpoint = await self._one(connection, call)
        self._tell()
        shown = {**webhook_shown(endpoint), "secret": self._services.webhook_secrets.shown(endpoint.id, salt)}
        return data(shown, headers={"ETag": _tag(endpoint)})

    async def dead(self, call: Call[None, PageQuery]) -> web.Response:
        """What was given up, the newest events first."""
        cursors, query = self._services.cursors, call.query
        bound_to = f"webhooks/{call.request.match_info['id']}"
        place = place_of(cursors, query.cursor, bound_to)
        before = int(place.position) if place else tables.END
        async with self._services.database.connection() as connection:
            endpoint = await self._one(connection, call)
            found = await tables.dead_letters(connection, endpoint.id, before_seq=before, limit=query.limit + 1)
        shown, next_place = one_page(found, query.limit, lambda last: Place(last.seq, 0))
        following = cursor_of(cursors, next_place, bound_to)
        return page(call.request, [dead_letter_shown(each) for each in shown], following=following, as_of_seq=None)

    async def replay(self, call: Call[CreateReplay, None]) -> web.Response:
        """Have dead letters sent once more; how many were chosen. Those that arrive are dead letters no more."""
        async with self._services.database.connection() as connection:
            endpoint = await self._one(connection, call)
            chosen = await tables.replay(connection, endpoint.id, call.body.replay.seqs)
        self._tell()
        return data({"replays": chosen}, status=202)

    async def _one(self, connection: Executor, call: Call[Any, Any]) -> Endpoint:
        principal, endpoint_id = _permitted(call.principal), call.request.match_info["id"]
        endpoint = await tables.by_id(connection, endpoint_id) if canonical_uuid(endpoint_id) else None
        if endpoint is None or not (principal.is_admin or endpoint.owner_id == principal.user_id):
            raise NotFound
        return endpoint

    def _check(self, url: str) -> None:
        wrong = complaint(url, may_be_private=self._services.webhooks_may_be_private)
        if wrong is not None:
            raise InvalidFields(violations=(Violation("#/webhook/url", wrong),))

    def _tell(self) -> None:
        self._services.node.cast(WEBHOOKS, WebhooksChanged())


def _permitted(principal: Principal) -> Principal:
    if principal.role not in _ROLES:
        raise Forbidden("Webhooks are for services and admins")
    return principal


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


def _tag(endpoint: Endpoint) -> str:
    return etag(endpoint.version, endpoint.position, endpoint.attempts, endpoint.dead)


def _answer(endpoint: Endpoint) -> web.Response:
    return data(webhook_shown(endpoint), headers={"ETag": _tag(endpoint)})
