"""A user's account in the default asset: opened at registration, or whenever it is found missing.

The account's id follows from the user and the asset, and opening is idempotent by id: a registration that lost its
ledger half-way is mended by the next login or look at the accounts, whichever front they reach, in any number.
"""

from __future__ import annotations

import uuid
from typing import Final

import structlog

from bitnexus.actors.messages import AccountOpened, CreateAccount, OpenAccount
from bitnexus.errors import RuntimeFault
from bitnexus.http.answers import expect
from bitnexus.http.services import Services

LEDGER: Final = "ledger"
_NAMESPACE: Final = uuid.UUID("7f1e3b52-9a38-5c6f-8d0b-4be1a7c4d9e6")

log = structlog.get_logger(__name__)


def account_id_of(user_id: str, asset: str) -> str:
    """The id of the user's first account in an asset."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}/{asset}"))


async def open_account(services: Services, user_id: str) -> AccountOpened:
    """Open the user's account in the default asset, or find that it is open.

    Raises:
        BitNexusError: it cannot be done just now; trying again is safe.
    """
    asset = services.default_asset
    message = OpenAccount(account_id=account_id_of(user_id, asset), owner_id=user_id, asset=asset)
    target = services.partitions.of(user_id)
    answer = await services.node.call(target, message, timeout_s=services.call_timeout_s, retry=True)
    return expect(AccountOpened, answer)


async def open_house_account(services: Services, account_id: str, asset: str, *, flags: int = 0) -> None:
    """Open an account of nobody's, or find that it is open. An asset exists when its world account does.

    Raises:
        Conflict: the id is in use for another account.
        BitNexusError: it cannot be done just now; trying again is safe.
    """
    message = CreateAccount(account_id, "", asset, 0, flags)
    answer = await services.node.call(LEDGER, message, timeout_s=services.call_timeout_s, retry=True)
    expect(AccountOpened, answer)


async def try_to_open_account(services: Services, user_id: str) -> str | None:
    """The account's id, or None if it cannot be opened just now: what was done before stays true without it."""
    try:
        return (await open_account(services, user_id)).account_id
    except RuntimeFault as error:
        log.warning("account_not_opened", user_id=user_id, error=error.code)
        return None
