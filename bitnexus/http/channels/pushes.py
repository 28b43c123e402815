"""What clients may push to their topics: the same as over REST, decided by the same code.

transaction:<user id>     new_transaction    the body of POST /transactions, and its Idempotency-Key beside it
notification:<user id>    read               {"read_up_to": n}, as POST /notifications/read
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import Field, TypeAdapter

from bitnexus.actors.notifier.events import NEW_TRANSACTION, NOTIFICATION, TRANSACTION, notification_topic
from bitnexus.errors import BadRequest, Forbidden
from bitnexus.http.api.notifications import Notifications, ReadFields
from bitnexus.http.api.transactions import CreateTransaction, Transactions
from bitnexus.http.channels.client import Handler, Push
from bitnexus.http.fields import IDEMPOTENCY_KEY
from bitnexus.http.limits import LIMITED_ROLE
from bitnexus.http.services import Services
from bitnexus.http.validation import Text, validate

CREATED: Final = 201

T = TypeVar("T")


class PushedTransaction(CreateTransaction):
    """A transfer. Who may not have heard of the answer pushes it again, with the same id or key."""

    idempotency_key: Annotated[Text, Field(max_length=512)] | None = None


class Pushes:
    """The handlers of one front's clients."""

    def __init__(self, services: Services) -> None:
        self._limits = services.limits
        self._transactions = Transactions(services)
        self._notifications = Notifications(services)
        self._transfer_of = TypeAdapter(PushedTransaction)
        self._read_of = TypeAdapter(ReadFields)

    def handlers(self) -> Mapping[tuple[str, str], Handler]:
        """By the topic's family and the event."""
        return {(TRANSACTION, NEW_TRANSACTION): self.new_transaction, (NOTIFICATION, "read"): self.read}

    async def new_transaction(self, push: Push) -> dict[str, Any]:
        """Post a transfer: it, and whether it had been posted before.

        Raises:
            TooManyRequests: pushes count as requests do.
            BitNexusError: as POST /transactions.
        """
        asked = self._validated(push, self._transfer_of)
        headers: dict[str, str] = {}
        if asked.idempotency_key is not None:
            headers[IDEMPOTENCY_KEY] = asked.idempotency_key
        status, body, _ = await self._transactions.post(headers, push.principal, asked.transaction)
        return {**orjson.loads(body), "replayed": status != CREATED}

    async def read(self, push: Push) -> dict[str, Any]:
        """Mark notifications as read; see Notifications.mark.

        Raises:
            Forbidden: they are another user's.
        """
        read_up_to = self._validated(push, self._read_of).read_up_to
        if push.topic != notification_topic(push.principal.user_id):
            raise Forbidden("Only who was notified has read it")
        return {"data": await self._notifications.mark(push.principal, read_up_to)}

    def _validated(self, push: Push, adapter: TypeAdapter[T]) -> T:
        throttle = self._limits.users
        if throttle is not None and push.principal.role == LIMITED_ROLE:
            throttle.take(push.principal.user_id)
        if isinstance(push.payload, bytes):
            raise BadRequest("A payload of JSON is expected")
        return validate(adapter, push.payload)
