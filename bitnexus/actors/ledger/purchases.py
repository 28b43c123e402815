"""What a purchase asks of the ledger: two transfers that succeed or fail together, and an account for them. Pure."""

from __future__ import annotations

from bitnexus.actors.ledger.accounts import units_transfer_id
from bitnexus.actors.messages import OpenAccount, PostTransfer, Purchase


def transfers_of(purchase: Purchase) -> tuple[PostTransfer, PostTransfer]:
    """The payment and the units. They are plain transfers: nothing of a purchase is stored otherwise."""
    user_id, role, metadata = purchase.user_id, purchase.role, purchase.metadata
    payment = PostTransfer(
        user_id,
        role,
        purchase.purchase_id,
        purchase.payer_account_id,
        purchase.shop_account_id,
        purchase.amount,
        purchase.asset,
        metadata=metadata,
        refuse=purchase.refuse,
    )
    units = PostTransfer(
        user_id,
        role,
        units_transfer_id(purchase.purchase_id),
        purchase.stock_account_id,
        purchase.units_account_id,
        purchase.quantity,
        purchase.units_asset,
        metadata=metadata,
    )
    return payment, units


def opening_of(purchase: Purchase) -> OpenAccount:
    """The account of the buyer's units."""
    return OpenAccount(purchase.units_account_id, purchase.user_id, purchase.units_asset)
