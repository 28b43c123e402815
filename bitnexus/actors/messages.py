"""The typed messages between the actors: the public language of the node.

Every message is a frozen `msgspec.Struct`, encoded as a msgpack array whose first element is its tag
``Name/version``. New fields go to the end and have a default; a change of meaning is a new version. Ids are
canonical lower-case UUID strings; amounts are integers of the asset's minor unit, 1 … 2**53-1; times are
microseconds since 1970 (UTC). Commands are imperative, events past tense.

A client (see bitnexus.client) may send those whose `permits` lets it, to the processes that open them to clients; all
others are internal to the node.
"""

from __future__ import annotations

from typing import ClassVar, Final

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

#: Where a UUID's version stands in its text, and the version of ids that follow from something else: a user's first
#: account, say. A client that chose such an id could take the place of what it will be needed for.
_VERSION_AT: Final = 14
_DERIVED: Final = "5"

#: The kinds of transfers, and the numbers that stand for them in the database and in the log.
TRANSFER_KINDS: Final = {
    "post": 1,
    "pending": 2,
    "post_pending": 3,
    "void_pending": 4,
    "expire_pending": 5,
    "reversal": 6,
}
#: What can be done to an account, and the numbers that stand for it there.
ACCOUNT_ACTIONS: Final = {"freeze": 1, "unfreeze": 2, "close": 3}

# -- transfers: front → user's transaction actor → ledger ---------------------------------------------------


class PostTransfer(Message, frozen=True, tag="PostTransfer/1"):
    """Move `amount` from the debit to the credit account. Idempotent by `transfer_id`, for ever.

    Answered by :class:`TransferResult`. `user_id` and `role` are those of the authenticated caller; the user's
    transaction actor checks that the debit account is the user's (an admin or service may debit `world`).
    `metadata` is canonical JSON text (sorted keys), kept as it came; "" when there is none. A transfer that the user's
    limits do not allow leaves that actor with the code by which the ledger is to `refuse` it, unless the id is known.
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
    refuse: str = ""

    # What a TransferRequest says besides.
    kind: ClassVar[str] = "post"
    pending_id: ClassVar[str] = ""
    reverses_id: ClassVar[str] = ""
    timeout_s: ClassVar[int] = 0
    linked: ClassVar[bool] = False

    def permits(self, sender: Principal) -> bool:
        """In one's own name and role alone."""
        return bool(sender.user_id) and sender.user_id == self.user_id and sender.role == self.role


class TransferRequest(Message, frozen=True, tag="TransferRequest/1"):
    """One transfer of :class:`PostTransfers`; its id, accounts, amount and texts are as in :class:`PostTransfer`.

    `kind`:

    - ``post`` moves the amount.
    - ``pending`` reserves it, for `timeout_s` seconds (0: until it is resolved).
    - ``post_pending`` moves what `pending_id` reserved, or a smaller amount of it; the rest is released.
    - ``void_pending`` releases what `pending_id` reserved.
    - ``reversal`` moves the amount of `reverses_id` back: its accounts are that transfer's, exchanged.

    Accounts, asset and (but for a smaller ``post_pending``) amount are those of the transfer that it refers to.
    `refuse` is as in :class:`PostTransfer`.
    """

    transfer_id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    asset: str
    kind: str = "post"
    code: int = 0
    description: str = ""
    metadata: str = ""
    pending_id: str = ""
    reverses_id: str = ""
    timeout_s: int = 0
    linked: bool = False  # succeeds or fails together with the next one
    refuse: str = ""


class PostTransfers(Message, frozen=True, tag="PostTransfers/1"):
    """A batch of transfers, decided in their order: each alone, but chains of `linked` ones together.

    Answered by :class:`TransferResults`, or if it is `brief` by :class:`TransferReceipts`. `user_id` and `role` are
    those of the authenticated caller; the user's transaction actor checks that the debit accounts are the user's (an
    admin or a service may debit the house's, and post or void what is pending), and that an admin asks for a reversal.
    """

    user_id: str
    role: str
    transfers: list[TransferRequest]
    brief: bool = False


class Purchase(Message, frozen=True, tag="Purchase/1"):
    """Buy units: money from the buyer's account to the shop's, units from the stock to the buyer's. Both, or neither.

    Answered by :class:`TransferResults` of two: the payment, whose id is `purchase_id`, and the units. Idempotent by
    `purchase_id`, for ever. When both succeed and there is no account `units_account_id` yet, it is opened with them,
    for the buyer; otherwise nothing is. `metadata` stands at both transfers. `refuse` is as in :class:`PostTransfer`,
    and about the payment.
    """

    user_id: str  # the buyer, whose transaction actor checks that `payer_account_id` is the buyer's
    role: str
    purchase_id: str
    payer_account_id: str
    shop_account_id: str
    amount: int  # of all units together
    asset: str
    stock_account_id: str
    units_account_id: str
    quantity: int
    units_asset: str
    metadata: str = ""
    refuse: str = ""


class Transfer(Message, frozen=True, tag="Transfer/2"):
    """A transfer as the ledger recorded it: of any of the kinds of :class:`TransferRequest`, or ``expire_pending``.

    The ledger itself writes ``expire_pending`` when the time of `pending_id` is over, with a `user_id` of all zeros.
    """

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
    kind: str = "post"
    pending_id: str = ""
    reverses_id: str = ""
    timeout_s: int = 0

    @property
    def expires_us(self) -> int:
        """When a pending transfer is over; 0 if it has no timeout."""
        return self.time_us + self.timeout_s * 1_000_000 if self.timeout_s else 0


class TransferResult(Message, frozen=True, tag="TransferResult/1"):
    """The one true answer to a :class:`PostTransfer`: `transfer`, or the `refusal` code (see errors.REFUSALS)."""

    transfer_id: str
    transfer: Transfer | None
    refusal: str | None = None
    replayed: bool = False


class TransferResults(Message, frozen=True, tag="TransferResults/1"):
    """The one true answer to :class:`PostTransfers`: a result per transfer, in their order."""

    results: list[TransferResult]


class TransferReceipts(Message, frozen=True, tag="TransferReceipts/1"):
    """The one true answer to brief :class:`PostTransfers`, by columns: what its sender does not know already.

    `seqs` and `blocks` are of each transfer, in their order; 0 for those that stand in `refusals`: index → code.
    `replayed` are the indexes of those, transfers and refusals, that had been decided before.
    """

    seqs: list[int]
    blocks: list[int]
    refusals: dict[int, str]
    replayed: list[int]


class AnnotateTransfer(Message, frozen=True, tag="AnnotateTransfer/1"):
    """Have other words stand at a transfer from now on. Idempotent by `annotation_id`.

    Answered by :class:`TransferAnnotated`; NotFound if there is no such transfer from that account, Conflict if the id
    is another annotation's, PreconditionFailed unless the words that stand there are of one of the events `if_seqs`
    (of the transfer's own, if it was never annotated; None: of any). `user_id` and `role` are those of the
    authenticated caller; the user's transaction actor checks that the debit account is the user's, or that an admin or
    a service asks.
    """

    user_id: str
    role: str
    annotation_id: str
    transfer_id: str
    debit_account_id: str
    description: str = ""
    metadata: str = ""
    if_seqs: list[int] | None = None


class TransferAnnotated(Message, frozen=True, tag="TransferAnnotated/1"):
    """These words stand at the transfer from here on; what it was recorded with is in the log for ever."""

    annotation_id: str
    transfer_id: str
    description: str
    metadata: str
    user_id: str
    seq: int
    block: int
    time_us: int


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


class CreateAccount(Message, frozen=True, tag="CreateAccount/1"):
    """Open an account with these `flags` (see ledger.accounts). Idempotent by `account_id`; answered as OpenAccount.

    `credit_limit` is by how much the side that a flag bounds may exceed the other side.
    """

    account_id: str
    owner_id: str  # "" for nobody
    asset: str
    code: int
    flags: int
    credit_limit: int = 0


class AccountOpened(Message, frozen=True, tag="AccountOpened/1"):
    """The account exists; `seq` is its event in the log."""

    account_id: str
    owner_id: str
    asset: str
    code: int
    seq: int
    block: int
    time_us: int


class ChangeAccount(Message, frozen=True, tag="ChangeAccount/1"):
    """Freeze, unfreeze or close an account: `action` is "freeze", "unfreeze" or "close", which is for good.

    Answered by :class:`AccountStatus`; NotFound, or Conflict for a closed account and for one that cannot be closed
    because it has a balance or pending transfers. Repeating it is harmless.
    """

    user_id: str
    role: str
    account_id: str
    action: str


class AccountStatus(Message, frozen=True, tag="AccountStatus/1"):
    """The account is "open", "frozen" or "closed"; `seq` is the event that made it so, -1 if it was so already."""

    account_id: str
    status: str
    seq: int = -1


class AccountChanged(Message, frozen=True, tag="AccountChanged/1"):
    """An account was changed: the `action` of :class:`ChangeAccount`."""

    account_id: str
    action: str
    user_id: str
    seq: int
    block: int
    time_us: int


# -- limits: front → user's transaction actor → PostgreSQL ----------------------------------------------------


class Limit(Message, frozen=True, tag="Limit/1"):
    """What a user may transfer of one asset, in minor units: at once, and from midnight to midnight UTC; None: all."""

    asset: str
    per_transfer: int | None = None
    per_day: int | None = None


class SetLimits(Message, frozen=True, tag="SetLimits/1"):
    """Have these limits, and no others, hold for a user from now on, also for an actor that is active.

    Answered by :class:`LimitsSet` once it is durable; Forbidden unless an admin asks (`role`, `set_by`), NotFound
    without such a user, PreconditionFailed unless the present limits are of one of the versions (None: of any) or are
    these already. Repeating it is harmless.
    """

    user_id: str
    role: str
    set_by: str
    limits: list[Limit]
    if_versions: list[int] | None = None


class LimitsSet(Message, frozen=True, tag="LimitsSet/1"):
    """The limits of a user, and what of the limited assets was spent on `day` (days since 1970) up to `as_of_seq`."""

    user_id: str
    version: int
    limits: list[Limit]
    spent: dict[str, int]
    day: int
    as_of_seq: int


# -- events: ledger → notifier → fronts ---------------------------------------------------------------------


class BlockCommitted(Message, frozen=True, tag="BlockCommitted/3"):
    """A block is durable. `first_seq` … `first_seq + len(events) - 1`; a refusal is None in `events`."""

    height: int
    first_seq: int
    tree_size: int
    events: list[Transfer | AccountOpened | AccountChanged | TransferAnnotated | None]
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


class TopicEvent(Message, frozen=True, tag="TopicEvent/2"):
    """What one event of the log, at `seq`, means for one topic; notifier → front, in order of `seq`.

    `events` are those that count in the topic, in their order: each a name and its payload, JSON text of an object,
    encoded once. `states` are likewise, but count for nothing: the next one of its kind takes its place. `ts` is when
    it happened, in RFC 3339.
    """

    topic: str
    seq: int
    ts: str
    events: tuple[tuple[str, str], ...]
    states: tuple[tuple[str, str], ...] = ()


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


class GetCheckpoint(Message, frozen=True, tag="GetCheckpoint/1"):
    """Ask the ledger to sign its tree; answered by :class:`SignedCheckpoint`, or CheckpointRefused."""


class SignedCheckpoint(Message, frozen=True, tag="SignedCheckpoint/1"):
    """A C2SP checkpoint, and the verifier key to check it with."""

    note: str
    verifier_key: str


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


class GetPartitions(Message, frozen=True, tag="GetPartitions/2"):
    """Ask a partition supervisor, ``transactions``, which partition serves whom; answered by :class:`Partitions`."""

    def permits(self, sender: Principal) -> bool:  # noqa: ARG002
        """Whoever has the cookie."""
        return True


class Partitions(Message, frozen=True, tag="Partitions/2"):
    """How many partitions share the users, and the number of the one that owns each slot.

    Slots are those of :func:`bitnexus.supervision.slots.slot_of`. While the number is being changed, the table is
    between the two; it may be out of date when it arrives: who asks the wrong partition hears Moved.
    """

    count: int
    owners: list[int]


class SetPartitions(Message, frozen=True, tag="SetPartitions/1"):
    """Have a partition supervisor change the number of its partitions, 1 to 256, while everything goes on.

    Answered by :class:`PartitionsSet` when it is done; it goes on when nobody waits for that. Conflict while another
    change is under way, NoProcess when a new partition does not start: then nothing has changed. Operators send
    operator_messages.ChangePartitions, which leaves a record.
    """

    count: int


class PartitionsSet(Message, frozen=True, tag="PartitionsSet/1"):
    """There are `count` partitions; `slots` of 1024 changed hands, in `seconds`."""

    before: int
    count: int
    slots: int
    seconds: float
