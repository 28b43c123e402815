"""Accounts: front → user's transaction actor → ledger."""

from __future__ import annotations

from typing import Final

from bitnexus.actors.runtime.message import Message
from bitnexus.principal import Principal

#: What can be done to an account, and the numbers that stand for it in the database and in the log.
ACCOUNT_ACTIONS: Final = {"freeze": 1, "unfreeze": 2, "close": 3}
#: Where a UUID's version stands in its text, and the version of ids that follow from something else: a user's first
#: account, say. A client that chose such an id could take the place of what it will be needed for.
VERSION_AT: Final = 14
DERIVED: Final = "5"


class OpenAccount(Message, frozen=True, tag="OpenAccount/1"):
    """Open an account. Idempotent by `account_id`. Answered by :class:`AccountOpened`."""

    account_id: str
    owner_id: str
    asset: str
    code: int = 0

    def permits(self, sender: Principal) -> bool:
        """For oneself; an admin or a service for any user. Not under an id that follows from something else."""
        if not sender.user_id or self.account_id[VERSION_AT : VERSION_AT + 1] in ("", DERIVED):
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
