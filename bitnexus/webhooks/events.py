"""What an event of the log is called in a webhook, and how it is written there. No input and output.

The body is ``{"type", "timestamp", "seq", "data"}``, the form of Standard Webhooks. It follows from the log alone: the
same event has the same body and the same id, however often and whenever it is sent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeAlias

import orjson

from bitnexus.actors.messages import AccountChanged, AccountOpened, Transfer, TransferAnnotated
from bitnexus.actors.representation import timestamp, transaction

#: One event of the log; None is a refusal, which concerns nobody but its caller.
LogEvent: TypeAlias = Transfer | AccountOpened | AccountChanged | TransferAnnotated | None

TRANSACTION_CREATED: Final = "transaction.created"
TRANSACTION_UPDATED: Final = "transaction.updated"
ACCOUNT_OPENED: Final = "account.opened"
ACCOUNT_CHANGED: Final = "account.changed"
EVENT_TYPES: Final = (TRANSACTION_CREATED, TRANSACTION_UPDATED, ACCOUNT_OPENED, ACCOUNT_CHANGED)

_STATUS: Final = {"freeze": "frozen", "unfreeze": "open", "close": "closed"}


def type_of(event: LogEvent) -> str | None:
    """What the event is called; None for one that is not told."""
    match event:
        case Transfer():
            return TRANSACTION_CREATED
        case TransferAnnotated():
            return TRANSACTION_UPDATED
        case AccountOpened():
            return ACCOUNT_OPENED
        case AccountChanged():
            return ACCOUNT_CHANGED
        case None:
            return None


def wanted_type(event: LogEvent, wanted: Collection[str]) -> str | None:
    """As :func:`type_of`; None for one that is not among those `wanted` (none named: all are)."""
    name = type_of(event)
    return name if not wanted or name in wanted else None


def message_id(seq: int) -> str:
    """The id of the message that tells of the event at this position, by which receivers know a repetition."""
    return f"evt_{seq}"


def body(event: LogEvent) -> bytes:
    """The message's body; `event` must be one that is told."""
    assert event is not None
    told = {"type": type_of(event), "timestamp": timestamp(event.time_us), "seq": event.seq, "data": _data(event)}
    return orjson.dumps(told)


def _data(event: Transfer | AccountOpened | AccountChanged | TransferAnnotated) -> dict[str, Any]:
    match event:
        case Transfer():
            return transaction(event)
        case TransferAnnotated():
            metadata = orjson.loads(event.metadata) if event.metadata else {}
            return {"id": event.transfer_id, "description": event.description, "metadata": metadata}
        case AccountOpened():
            owner = event.owner_id or None
            return {"id": event.account_id, "owner_id": owner, "asset": event.asset, "code": event.code}
        case AccountChanged():
            return {"id": event.account_id, "action": event.action, "status": _STATUS[event.action]}
