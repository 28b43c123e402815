"""The typed messages between the actors: the public language of the node.

Every message is a frozen `msgspec.Struct`, encoded as a msgpack array whose first element is its tag
``Name/version``. New fields go to the end and have a default; a change of meaning is a new version. Ids are
canonical lower-case UUID strings; amounts are integers of the asset's minor unit, 1 … 2**53-1; times are
microseconds since 1970 (UTC). Commands are imperative, events past tense.

A client (see bitnexus.client) may send those whose `permits` lets it, to the processes that open them to clients; all
others are internal to the node.
"""

from __future__ import annotations

from typing import Final

from bitnexus.actors.runtime.message import (
    Done,
    GetMetrics,
    GetNames,
    Message,
    Metrics,
    Names,
    NamesChanged,
    ProcessInfo,
)
from bitnexus.principal import Principal

__all__ = [
    "AccountOpened",
    "AcknowledgeEvents",
    "BlockCommitted",
    "Done",
    "EventsAcknowledged",
    "GetHead",
    "GetMetrics",
    "GetNames",
    "GetPartitions",
    "Head",
    "Message",
    "Metrics",
    "Names",
    "NamesChanged",
    "OpenAccount",
    "Partitions",
    "PostTransfer",
    "ProcessInfo",
    "Subscribe",
    "Subscribed",
    "TopicEvent",
    "Transfer",
    "TransferResult",
    "Unsubscribe",
]

#: Where a UUID's version stands in its text, and the version of ids that follow from something else: a user's first
#: account, say. A client that chose such an id could take the place of what it will be needed for.
_VERSION_AT: Final = 14
_DERIVED: Final = "5"

# -- transfers: front → user's transaction actor → ledger ---------------------------------------------------


class PostTransfer(Message, frozen=True, tag="PostTransfer/1"):
    """Move `amount` from the debit to the credit account. Idempotent by `transfer_id`, for ever.

    Answered by :class:`TransferResult`. `user_id` and `role` are those of the authenticated caller; the user's
    transaction actor checks that the debit account is the user's (an admin or service may debit `world`).
    `metadata` is canonical JSON text (sorted keys), kept as it came; "" when there is none.
    """

    user_id: str
    role: str  # "user" | "service" | "admin"
    transfer_id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    asset: str
    code: int = 0
    description: str = ""
    metadata: str = ""

    def permits(self, sender: Principal) -> bool:
        """In one's own name and role alone."""
        return bool(sender.user_id) and sender.user_id == self.user_id and sender.role == self.role


class Transfer(Message, frozen=True, tag="Transfer/1"):
    """A posted transfer as the ledger recorded it."""

    transfer_id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    asset: str
    code: int
    description: str
    metadata: str
    user_id: str
    seq: int
    block: int
    time_us: int
    debit_balance: int  # credits_posted - debits_posted of the debit account after this transfer
    credit_balance: int


class TransferResult(Message, frozen=True, tag="TransferResult/1"):
    """The one true answer to a :class:`PostTransfer`: `transfer`, or the `refusal` code (see errors.REFUSALS)."""

    transfer_id: str
    transfer: Transfer | None
    refusal: str | None = None
    replayed: bool = False


# -- accounts: front → user's transaction actor → ledger ----------------------------------------------------


class OpenAccount(Message, frozen=True, tag="OpenAccount/1"):
    """Open an account. Idempotent by `account_id`. Answered by :class:`AccountOpened`."""

    account_id: str
    owner_id: str
    asset: str
    code: int = 0

    def permits(self, sender: Principal) -> bool:
        """For oneself; an admin or a service for any user. Not under an id that follows from something else."""
        if not sender.user_id or self.account_id[_VERSION_AT : _VERSION_AT + 1] in ("", _DERIVED):
            return False
        return self.owner_id == sender.user_id or (bool(self.owner_id) and sender.role in ("admin", "service"))


class AccountOpened(Message, frozen=True, tag="AccountOpened/1"):
    """The account exists; `seq` is its event in the log."""

    account_id: str
    owner_id: str
    asset: str
    code: int
    seq: int
    block: int
    time_us: int


# -- events: ledger → notifier → fronts ---------------------------------------------------------------------


class BlockCommitted(Message, frozen=True, tag="BlockCommitted/1"):
    """A block is durable. `first_seq` … `first_seq + len(events) - 1`; a refusal is None in `events`."""

    height: int
    first_seq: int
    tree_size: int
    events: list[Transfer | AccountOpened | None]
    owners: dict[str, str]  # account id → owner's user id, for the accounts in `events`


class Subscribe(Message, frozen=True, tag="Subscribe/1"):
    """A front asks the notifier for the events of `topics`, those after log position `after_seq` (-1: from now).

    Answered by :class:`Subscribed`. Repeating it is harmless.
    """

    front: str
    topics: list[str]
    after_seq: int = -1


class Subscribed(Message, frozen=True, tag="Subscribed/1"):
    """Every event after `seq` will be delivered."""

    seq: int


class Unsubscribe(Message, frozen=True, tag="Unsubscribe/1"):
    """The front has no more reader for these topics. A cast."""

    front: str
    topics: list[str]


class TopicEvent(Message, frozen=True, tag="TopicEvent/1"):
    """One event of one topic, notifier → front, in order of `seq`. `payload` is JSON text, encoded once."""

    topic: str
    event: str
    payload: str
    seq: int


class AcknowledgeEvents(Message, frozen=True, tag="AcknowledgeEvents/1"):
    """Asked of a front by the notifier behind events it has cast: answered by :class:`EventsAcknowledged` at once.

    The answer says that all events before it have arrived. A front that does not answer gets no more live events; it is
    brought up to date from the log when it answers again.
    """

    seq: int


class EventsAcknowledged(Message, frozen=True, tag="EventsAcknowledged/1"):
    """Every event up to log position `seq` has arrived at the front."""

    seq: int


# -- introspection ------------------------------------------------------------------------------------------


class GetHead(Message, frozen=True, tag="GetHead/1"):
    """Ask the ledger for its head; answered by :class:`Head`."""

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """Whoever has the cookie."""
        return True


class Head(Message, frozen=True, tag="Head/1"):
    """The newest committed block; hashes in hex."""

    height: int
    tree_size: int
    tree_root: str
    block_hash: str


class GetPartitions(Message, frozen=True, tag="GetPartitions/1"):
    """Ask any partition how many there are; answered by :class:`Partitions`."""

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """Whoever has the cookie."""
        return True


class Partitions(Message, frozen=True, tag="Partitions/1"):
    """How many partitions share the users (see transactions.partitioning)."""

    count: int
