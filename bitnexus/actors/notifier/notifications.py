"""What a user is told in ``notification:<user id>``: one notification at most for one event of the log. Pure.

    event of the log                                who is told          notification
    transfer into an account, or what posts one     its owner            money_received; of a product's units
                                                                         product_bought
    pending transfer                                who is to get it     payment_announced
    a pending transfer was voided                   who was to get it    payment_withdrawn
    the time of a pending transfer is over          both                 payment_expired
    a transfer was reversed                         who gets it back     money_returned
                                                    who had got it       payment_reversed
    an account was frozen, unfrozen, closed         its owner            account_frozen, _unfrozen, _closed

Whoever owns both accounts of a transfer is told once, as the one who gets it. What a user does is told to the other
one: that one has paid stands in ``transaction:<user id>``.
"""

from __future__ import annotations

from typing import Final

import orjson

from bitnexus.actors import representation
from bitnexus.actors.messages import AccountChanged, Transfer

#: What an asset that is a product's units begins with.
UNITS: Final = "SKU:"

_TO_CREDITOR: Final = {
    "post": "money_received",
    "pending": "payment_announced",
    "post_pending": "money_received",
    "void_pending": "payment_withdrawn",
    "expire_pending": "payment_expired",
    "reversal": "money_returned",
}
_TO_DEBTOR: Final = {"expire_pending": "payment_expired", "reversal": "payment_reversed"}
_OF_CHANGE: Final = {"freeze": "account_frozen", "unfreeze": "account_unfrozen", "close": "account_closed"}


def notifications_of(transfer: Transfer, *, debtor: bool, creditor: bool) -> tuple[tuple[str, str], ...]:
    """Name and payload of what the owner of one or both of its accounts is told; nothing, or one."""
    name = _TO_CREDITOR[transfer.kind] if creditor else _TO_DEBTOR.get(transfer.kind) if debtor else None
    if name is None:
        return ()
    if name == "money_received" and transfer.asset.startswith(UNITS):
        name = "product_bought"
    account_id = transfer.credit_account_id if creditor else transfer.debit_account_id
    return (_written(name, account_id, transfer.time_us, {"transaction": representation.transaction(transfer)}),)


def notification_of_change(event: AccountChanged) -> tuple[str, str]:
    """Name and payload of what the owner of the account is told."""
    return _written(_OF_CHANGE[event.action], event.account_id, event.time_us, {})


def _written(name: str, account_id: str, time_us: int, more: dict[str, object]) -> tuple[str, str]:
    payload = {"type": name, "account_id": account_id, **more, "inserted_at": representation.timestamp(time_us)}
    return name, orjson.dumps(payload).decode()
