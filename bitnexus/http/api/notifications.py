"""Notifications: what a user was told, by the positions that the channel ``notification:<user id>`` has."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import Field

from bitnexus.actors.notifier.events import NOTIFICATION, notification_topic, topic_events
from bitnexus.errors import InvalidFields, Violation
from bitnexus.http.api.resource import Resource
from bitnexus.http.channels.feed import last_numbered
from bitnexus.http.channels.topic_log import StoredTopicLog
from bitnexus.http.described import Described
from bitnexus.http.pages import DEFAULT_LIMIT, MAX_LIMIT
from bitnexus.http.routes import Call, Route, data, json_bytes
from bitnexus.http.services import Services
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.notifications import Notifications as NotificationsShape
from bitnexus.http.shapes.notifications import Read
from bitnexus.http.validation import MAX_SAFE_INTEGER, Model, QueryModel
from bitnexus.principal import Principal
from bitnexus.storage import ledger, ledger_topics, notification_reads

PATH: Final = "/api/v1/notifications"
#: How many of the newest can be had: a page costs what lies between it and the newest one.
REACH: Final = 10_000


class NotificationsQuery(QueryModel):
    """Those after the one with this number, oldest first; without it the newest ones."""

    after: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class ReadFields(Model):
    """The number of the last notification that was read: it and all before it are."""

    read_up_to: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]


class MarkRead(Model):
    """The body of POST /notifications/read."""

    notifications: ReadFields


class Notifications(Resource):
    """The resource."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._log = StoredTopicLog(services.database)

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route(
                "GET",
                PATH,
                self.index,
                "The caller's notifications",
                query=NotificationsQuery,
                described=Described({200: NotificationsShape}),
            ),
            Route(
                "POST",
                PATH + "/read",
                self.read,
                "Mark notifications as read",
                body=MarkRead,
                described=Described({200: One[Read]}, example={"notifications": {"read_up_to": 3}}),
            ),
        ]

    async def index(self, call: Call[None, NotificationsQuery]) -> web.Response:
        """Notifications as the channel tells them, `_meta` and all, oldest first.

        ``{"data": […], "page": {"next": number, "has_more": …}, "epoch": …, "seq": the newest one's number,
        "oldest": that of the oldest one that can be had, "read_up_to": …}``; `page.next` is the next page's `after`,
        null at the end. The list begins at the oldest one if `after` is before it.
        """
        user_id, query = call.principal.user_id, call.query
        epoch = await self._log.epoch()
        async with self._services.database.connection() as connection:
            up_to_seq = await ledger.last_seq(connection)
            head = await ledger_topics.count_events(connection, NOTIFICATION, user_id, up_to_seq)
            oldest = max(0, head - REACH)
            after = max(oldest, head - query.limit) if query.after is None else max(oldest, min(query.after, head))
            end = min(head, after + query.limit)
            events, owners = await ledger_topics.last_events(
                connection, NOTIFICATION, user_id, up_to_seq=up_to_seq, limit=end - after, skip=head - end
            )
            read_up_to = await notification_reads.read_up_to(connection, user_id, epoch)
        topic = notification_topic(user_id)
        told = [each for event in events for each in topic_events(event, owners, (topic,))]
        items = [orjson.Fragment(each.numbered()) for each in last_numbered(told, epoch, end, end - after)]
        body: dict[str, Any] = {
            "data": items,
            "page": {"next": end if end < head else None, "has_more": end < head},
            "epoch": epoch,
            "seq": head,
            "oldest": oldest + 1,
            "read_up_to": read_up_to,
        }
        headers = {}
        if end < head:
            following = call.request.rel_url.update_query(after=str(end))
            headers["Link"] = f'<{following.raw_path_qs}>; rel="next"'
        return json_bytes(orjson.dumps(body), headers=headers)

    async def read(self, call: Call[MarkRead, None]) -> web.Response:
        """Mark the caller's notifications up to a number as read; what was read stays so.

        Raises:
            InvalidFields: there has not been such a notification yet.
        """
        return data(await self.mark(call.principal, call.body.notifications.read_up_to))

    async def mark(self, principal: Principal, up_to: int) -> dict[str, Any]:
        """As :meth:`read`: up to which number all are read now, and how many are not."""
        epoch, topic = await self._log.epoch(), notification_topic(principal.user_id)
        head = await self._log.count(topic)
        if up_to > head:
            raise InvalidFields(
                violations=(Violation("#/notifications/read_up_to", f"there are {head} notifications"),)
            )
        async with self._services.database.connection() as connection:
            read_up_to = await notification_reads.mark_read(connection, principal.user_id, epoch, up_to)
        return {"read_up_to": read_up_to, "unread": max(0, head - read_up_to)}
