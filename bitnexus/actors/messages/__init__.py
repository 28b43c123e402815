"""The typed messages between the actors: the public language of the node.

Every message is a frozen `msgspec.Struct`, encoded as a msgpack array whose first element is its tag
``Name/version``. New fields go to the end and have a default; a change of meaning is a new version. Ids are
canonical lower-case UUID strings; amounts are integers of the asset's minor unit, 1 … 2**53-1; times are
microseconds since 1970 (UTC). Commands are imperative, events past tense.

A client (see bitnexus.client) may send those whose `permits` lets it, to the processes that open them to clients; all
others are internal to the node.
"""

from bitnexus.actors.messages.accounts import (
    ACCOUNT_ACTIONS,
    AccountChanged,
    AccountOpened,
    AccountStatus,
    ChangeAccount,
    CreateAccount,
    OpenAccount,
)
from bitnexus.actors.messages.events import (
    AcknowledgeEvents,
    BlockCommitted,
    EventsAcknowledged,
    Subscribe,
    Subscribed,
    TopicEvent,
    Unsubscribe,
)
from bitnexus.actors.messages.introspection import (
    GetCheckpoint,
    GetHead,
    GetPartitions,
    Head,
    Partitions,
    PartitionsSet,
    SetPartitions,
    SignedCheckpoint,
)
from bitnexus.actors.messages.limits import (
    Limit,
    LimitsSet,
    SetLimits,
)
from bitnexus.actors.messages.transfers import (
    TRANSFER_KINDS,
    AnnotateTransfer,
    PostTransfer,
    PostTransfers,
    Purchase,
    Transfer,
    TransferAnnotated,
    TransferReceipts,
    TransferRequest,
    TransferResult,
    TransferResults,
)
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

__all__ = [
    "ACCOUNT_ACTIONS",
    "TRANSFER_KINDS",
    "AccountChanged",
    "AccountOpened",
    "AccountStatus",
    "AcknowledgeEvents",
    "AnnotateTransfer",
    "BlockCommitted",
    "ChangeAccount",
    "CreateAccount",
    "Done",
    "EventsAcknowledged",
    "GetCheckpoint",
    "GetHead",
    "GetMetrics",
    "GetNames",
    "GetPartitions",
    "Head",
    "Limit",
    "LimitsSet",
    "Message",
    "Metrics",
    "Names",
    "NamesChanged",
    "OpenAccount",
    "Partitions",
    "PartitionsSet",
    "PostTransfer",
    "PostTransfers",
    "ProcessInfo",
    "Purchase",
    "SetLimits",
    "SetPartitions",
    "SignedCheckpoint",
    "Subscribe",
    "Subscribed",
    "TopicEvent",
    "Transfer",
    "TransferAnnotated",
    "TransferReceipts",
    "TransferRequest",
    "TransferResult",
    "TransferResults",
    "Unsubscribe",
]
