"""Which topics an event of the log belongs to, and how it is written there. Pure.

The log is the only truth: what a topic tells follows from it, event by event, and so does how many events a topic has
had up to any place in the log. Queries count the same without reading it (see storage.ledger_topics).

    transaction:<user id>     of an event that concerns one of the user's accounts
        transfer                            new_transaction
        … that resolves or reverses another transaction_updated as well, of the other one
        annotation                          transaction_updated
    notification:<user id>    see notifications.py

A transfer is told to the owners of both its accounts, once if that is one user.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import orjson

from bitnexus.actors import representation
from bitnexus.actors.messages import AccountChanged, AccountOpened, TopicEvent, Transfer, TransferAnnotated
from bitnexus.actors.notifier.notifications import notification_of_change, notifications_of
from bitnexus.storage.ledger_rows import Annotated

#: One event of the log; None is a refusal, which concerns nobody but its caller. Of an annotation the log does not say
#: whose it is: it is told when it has been read from the database, as `Annotated`.
LogEvent: TypeAlias = Transfer | AccountOpened | AccountChanged | TransferAnnotated | Annotated | None

#: Names and payloads.
Told: TypeAlias = tuple[tuple[str, str], ...]

TRANSACTION: Final = "transaction"
NOTIFICATION: Final = "notification"
NEW_TRANSACTION: Final = "new_transaction"
TRANSACTION_UPDATED: Final = "transaction_updated"
BALANCE: Final = "balance"


def transaction_topic(user_id: str) -> str:
    """The topic of a user's transfers."""
    return f"{TRANSACTION}:{user_id}"


def notification_topic(user_id: str) -> str:
    """The topic of what a user is to be told."""
    return f"{NOTIFICATION}:{user_id}"


def user_of(topic: str) -> str | None:
    """The user whose topic it is; None for a topic of another kind."""
    family, _, user_id = topic.partition(":")
    return user_id if family in (TRANSACTION, NOTIFICATION) else None


def topic_events(event: LogEvent, owners: Mapping[str, str], wanted: Collection[str]) -> list[TopicEvent]:
    """What the event means for those of its topics that are `wanted`; `owners`: account id → user id.

    A payload is encoded once for all topics, and only if it is wanted.
    """
    if isinstance(event, Transfer):
        return _of_transfer(event, owners, wanted)
    if isinstance(event, Annotated):
        return _of_annotation(event, owners, wanted)
    if isinstance(event, AccountChanged):
        topic = notification_topic(owners.get(event.account_id, ""))
        if topic in wanted:
            return [
                TopicEvent(topic, event.seq, representation.timestamp(event.time_us), (notification_of_change(event),))
            ]
    return []


def _of_transfer(transfer: Transfer, owners: Mapping[str, str], wanted: Collection[str]) -> list[TopicEvent]:
    debtor, creditor = owners.get(transfer.debit_account_id), owners.get(transfer.credit_account_id)
    found: list[TopicEvent] = []
    events: Told = ()
    ts = ""
    for user_id in dict.fromkeys((debtor, creditor)):
        if user_id is None:
            continue
        topic = transaction_topic(user_id)
        if topic in wanted:
            if not events:
                events = _transaction_events(transfer)
                ts = representation.timestamp(transfer.time_us)
            states = _balances(transfer, debtor=user_id == debtor, creditor=user_id == creditor)
            found.append(TopicEvent(topic, transfer.seq, ts, events, states))
        topic = notification_topic(user_id)
        if topic in wanted:
            told = notifications_of(transfer, debtor=user_id == debtor, creditor=user_id == creditor)
            if told:
                found.append(TopicEvent(topic, transfer.seq, representation.timestamp(transfer.time_us), told))
    return found


def _transaction_events(transfer: Transfer) -> Told:
    made = (NEW_TRANSACTION, representation.transaction_json(transfer))
    other = transfer.pending_id or transfer.reverses_id
    if not other:
        return (made,)
    return made, (TRANSACTION_UPDATED, _json(representation.resolution(other, transfer)))


def _of_annotation(event: Annotated, owners: Mapping[str, str], wanted: Collection[str]) -> list[TopicEvent]:
    words = event.words
    users = dict.fromkeys(owners.get(id_) for id_ in (event.debit_account_id, event.credit_account_id))
    topics = [topic for user in users if user is not None and (topic := transaction_topic(user)) in wanted]
    if not topics:
        return []
    events = ((TRANSACTION_UPDATED, _json(representation.words(words))),)
    ts = representation.timestamp(words.time_us)
    return [TopicEvent(topic, words.seq, ts, events) for topic in topics]


def _balances(transfer: Transfer, *, debtor: bool, creditor: bool) -> Told:
    """The balances of the user's own accounts after the transfer."""
    found = []
    if debtor:
        found.append((transfer.debit_account_id, transfer.debit_balance))
    if creditor:
        found.append((transfer.credit_account_id, transfer.credit_balance))
    return tuple(
        (BALANCE, _json({"account_id": id_, "asset": transfer.asset, "balance": balance, "seq": transfer.seq}))
        for id_, balance in found
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
