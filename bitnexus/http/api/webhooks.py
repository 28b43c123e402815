"""Webhooks: where internal services are told of what is recorded. For services, each its own, and for admins."""

from __future__ import annotations

import secrets
import uuid
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from aiohttp import web

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.errors import BadCursor, Conflict, Forbidden, InvalidFields, NotFound, PreconditionFailed, Violation
from bitnexus.http.api.operated import changing
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.webhook_fields import (
    CreateReplay,
    CreateWebhook,
    UpdateWebhook,
    dead_letter_shown,
    webhook_shown,
)
from bitnexus.http.described import Described
from bitnexus.http.etags import etag, is_known, versions_to_match
from bitnexus.http.pages import PageQuery, Place, cursor_of, one_page, page, place_of
from bitnexus.http.routes import Call, Route, data
from bitnexus.http.shapes.base import One, Page
from bitnexus.http.shapes.webhooks import DeadLetter, Listed, Replays, Webhook, WebhookWithSecret
from bitnexus.operations.recorded import Outcome
from bitnexus.principal import Principal
from bitnexus.storage import ledger
from bitnexus.storage import webhooks as tables
from bitnexus.storage.database import Executor
from bitnexus.storage.webhooks import Endpoint
from bitnexus.webhooks.addresses import complaint
from bitnexus.webhooks.messages import WEBHOOKS, WebhooksChanged
from bitnexus.webhooks.signing import SALT_BYTES

PATH: Final = "/api/v1/webhooks"
_ROLES: Final = ("service", "admin")

_EXAMPLE: Final = {
    "webhook": {"url": "https://shop.example.com/bitnexus", "description": "orders", "events": ["transaction.created"]}
}


class Webhooks(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        one, which = PATH + "/{id}", (Forbidden, NotFound)
        listed = Described({200: Listed}, errors=(Forbidden,))
        made = Described({201: One[WebhookWithSecret]}, errors=(Forbidden, Conflict), tagged=True, example=_EXAMPLE)
        shown = Described({200: One[Webhook]}, errors=which, if_none_match=True)
        changed = Described(
            {200: One[Webhook]}, errors=which, if_match=True, example={"webhook": {"description": "all orders"}}
        )
        deleted = Described({204: None}, errors=which, if_match=True)
        renewed = Described({200: One[WebhookWithSecret]}, errors=which, tagged=True)
        dead = Described({200: Page[DeadLetter]}, errors=(*which, BadCursor))
        sent = Described({202: One[Replays]}, errors=which, example={"replay": {"seqs": [4711]}})
        all_, new_one = "The caller's webhooks; all of them for an admin", "Have a service told of what is recorded"
        body, new_secret = UpdateWebhook, "A new secret; the former one is good for a day"
        again, undelivered = "Send dead letters once more", "What could not be delivered"
        return [
            Route("GET", PATH, self.index, all_, described=listed),
            Route("POST", PATH, self.create, new_one, body=CreateWebhook, described=made),
            Route("GET", one, self.show, "One webhook, and how far it has come", described=shown),
            Route("PUT", one, self.update, "Change a webhook", body=body, described=changed),
            Route("PATCH", one, self.update, "Change a webhook", body=body, described=changed),
            Route("DELETE", one, self.delete, "Tell it nothing more", described=deleted),
            Route(
                "POST",
                one + "/rotate",
                self.rotate,
                new_secret,
                described=renewed,
            ),
            Route("GET", one + "/dead_letters", self.dead, undelivered, query=PageQuery, described=dead),
            Route("POST", one + "/replays", self.replay, again, body=CreateReplay, described=sent),
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
        endpoint_id, salt = str(uuid.uuid4()), secrets.token_bytes(SALT_BYTES)
        changed = changing(self._services, call, "create", _path(endpoint_id), events=wanted.events)
        async with changed as (connection, _):
            self._check(wanted.url)
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
        changes = call.body.webhook
        # An address may have a secret in it: the record says what was changed, and to what only where that is harmless.
        given = {"fields": sorted(changes.model_fields_set), "is_active": changes.is_active}
        async with self._changing(call, "update", **given) as (connection, _):
            versions = versions_to_match(call.request.headers.get("If-Match"))
            endpoint = await self._one(connection, call)
            if changes.url is not None:
                self._check(changes.url)
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
        async with self._changing(call, "delete") as (connection, _):
            versions = versions_to_match(call.request.headers.get("If-Match"))
            endpoint = await self._one(connection, call)
            if not await tables.delete(connection, endpoint.id, versions=versions):
                raise PreconditionFailed
        self._tell()
        return web.Response(status=204)

    async def rotate(self, call: Call[None, None]) -> web.Response:
        """A new secret, in this answer and in no other; for a day messages are signed by both."""
        salt = secrets.token_bytes(SALT_BYTES)
        async with self._changing(call, "rotate") as (connection, _):
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
        seqs = call.body.replay.seqs
        async with self._changing(call, "replay", seqs=seqs) as (connection, outcome):
            endpoint = await self._one(connection, call)
            chosen = await tables.replay(connection, endpoint.id, seqs)
            outcome.word, outcome.detail = "done" if chosen else "nothing", f"{chosen} dead letters"
        self._tell()
        return data({"replays": chosen}, status=202)

    def _changing(
        self, call: Call[Any, Any], verb: str, **arguments: object
    ) -> AbstractAsyncContextManager[tuple[Any, Outcome]]:
        _permitted(call.principal)
        if not canonical_uuid(call.request.match_info["id"]):
            raise NotFound
        return changing(self._services, call, verb, _path(call.request.match_info["id"]), **arguments)

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


def _path(endpoint_id: str) -> str:
    """What the operators' audit calls it."""
    return f"webhooks/{endpoint_id}"


def _permitted(principal: Principal) -> Principal:
    if principal.role not in _ROLES:
        raise Forbidden("Webhooks are for services and admins")
    return principal


def _tag(endpoint: Endpoint) -> str:
    return etag(endpoint.version, endpoint.position, endpoint.attempts, endpoint.dead)


def _answer(endpoint: Endpoint) -> web.Response:
    return data(webhook_shown(endpoint), headers={"ETag": _tag(endpoint)})
