"""Transfers: front → user's transaction actor → ledger."""

from __future__ import annotations

from typing import ClassVar, Final

from bitnexus.actors.runtime.message import Message
from bitnexus.principal import Principal

#: The kinds of transfers, and the numbers that stand for them in the database and in the log.
TRANSFER_KINDS: Final = {
    "post": 1,
    "pending": 2,
    "post_pending": 3,
    "void_pending": 4,
    "expire_pending": 5,
    "reversal": 6,
}


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
