"""Which topics an event of the log belongs to, and how it is written there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from bitnexus.actors.messages import AccountChanged, AccountOpened, TopicEvent, Transfer, TransferAnnotated
from bitnexus.actors.representation import transaction_json

#: One event of the log; None is a refusal, which concerns nobody but its caller.
LogEvent: TypeAlias = Transfer | AccountOpened | AccountChanged | TransferAnnotated | None

TRANSACTION_PREFIX: Final = "transaction:"
NEW_TRANSACTION: Final = "new_transaction"


def transaction_topic(user_id: str) -> str:
    """The topic of a user's transfers."""
    return TRANSACTION_PREFIX + user_id


def user_of(topic: str) -> str | None:
    """The user whose transfers the topic tells of; None for a topic of another kind."""
    return topic.removeprefix(TRANSACTION_PREFIX) if topic.startswith(TRANSACTION_PREFIX) else None


def topic_events(event: LogEvent, owners: Mapping[str, str], wanted: Collection[str]) -> list[TopicEvent]:
    """The event for those of its topics that are `wanted`; `owners`: account id → user id.

    A transfer goes to the owners of both its accounts, once if that is one user. Its payload is encoded once, and
    only if it is wanted.
    """
    if not isinstance(event, Transfer):
        return []
    topics = {
        transaction_topic(owner): None
        for account_id in (event.debit_account_id, event.credit_account_id)
        if (owner := owners.get(account_id)) is not None
    }
    found = [topic for topic in topics if topic in wanted]
    if not found:
        return []
    payload = transaction_json(event)
    return [TopicEvent(topic, NEW_TRANSACTION, payload, event.seq) for topic in found]
