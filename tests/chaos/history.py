"""What the clients of a run were told, and what the ledger holds at the end. Data alone; `checks` judges it.

Times are those of one monotonic clock, the clients' own. A position is a `seq` of the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Kinds of transfer that move what is posted; the others reserve, release or expire.
MOVING: Final = frozenset({"post", "post_pending", "reversal"})
#: Kinds after which a reservation is over.
RESOLVING: Final = frozenset({"post_pending", "void_pending", "expire_pending"})


@dataclass(frozen=True, slots=True)
class Told:
    """An answer about one transfer: where it stands in the log, or for what it was refused.

    `began_at`: when it was asked for first. `client` sends one request after another, all of one user; of a batch each
    transfer is told by itself, in its order.
    """

    client: str
    transfer_id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    began_at: float
    ended_at: float
    seq: int | None = None
    block: int | None = None
    refusal: str | None = None
    is_new: bool = True  # the first time that this client asks for it


@dataclass(frozen=True, slots=True)
class Page:
    """The newest entries of an account, newest first, as (seq, id, the account's balance after it)."""

    client: str
    account_id: str
    as_of_seq: int
    began_at: float
    ended_at: float
    limit: int
    entries: tuple[tuple[int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's balance after the event `as_of_seq`."""

    client: str
    account_id: str
    as_of_seq: int
    began_at: float
    ended_at: float
    balance: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial balance: of each asset the debits and credits that are posted, and those that are pending."""

    client: str
    as_of_seq: int
    began_at: float
    ended_at: float
    balanced: bool
    posted: tuple[tuple[str, int, int], ...]
    pending: tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class Listening:
    """One connection's time on one topic, and the positions of the events that came, in the order in which they came.

    `after`: the position after which everything was promised, where the service said so. `at_rest`: it was ended when
    nobody had paid for a while, so that nothing may be missing up to the log's end.
    """

    client: str
    topic: str
    joined_at: float
    after: int | None = None
    heard: list[int] = field(default_factory=list)
    at_rest: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A transfer as the ledger holds it at the end; with `refusal` it moved nothing."""

    transfer_id: str
    debit_account_id: str
    credit_account_id: str
    amount: int
    asset: str
    kind: str
    seq: int
    block: int
    refusal: str | None = None
    pending_id: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the ledger holds it at the end; the owner is "" for the house's."""

    account_id: str
    owner_id: str
    asset: str
    debits_posted: int
    credits_posted: int
    may_be_overdrawn: bool = False  # the house's


@dataclass(slots=True)
class History:
    """All of it, in the order in which it was seen."""

    told: list[Told] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    listenings: list[Listening] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger holds at the end."""

    rows: tuple[Row, ...]
    accounts: tuple[Account, ...]
    last_seq: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept, by the name of the rule, in words."""

    rule: str
    words: str
