"""The end of a user's accounts: all of them are closed, if all of them are empty."""

from __future__ import annotations

import asyncio
from typing import Final

from bitnexus.actors.ledger.accounts import CLOSED
from bitnexus.actors.messages import AccountStatus, ChangeAccount
from bitnexus.errors import AccountsNotEmpty
from bitnexus.http.answers import expect
from bitnexus.http.services import Services
from bitnexus.storage import ledger
from bitnexus.storage.ledger_rows import AccountRow

_PAGE: Final = 200
#: Fewer than a user may have in flight.
_AT_ONCE: Final = 16


async def close_accounts(services: Services, user_id: str) -> None:
    """Close all accounts of the user; those that are closed stay so.

    First it is seen that all are empty; what comes in after that is refused by the ledger, account by account.

    Raises:
        AccountsNotEmpty: one has a balance or something pending; none was closed.
        Conflict: money came in meanwhile; some may be closed. Repeating is safe.
        BitNexusError: it cannot be done just now; repeating is safe.
    """
    open_ids: list[str] = []
    for account in await _accounts_of(services, user_id):
        if account.balance or account.debits_pending or account.credits_pending:
            raise AccountsNotEmpty
        if account.state != CLOSED:
            open_ids.append(account.account_id)
    for start in range(0, len(open_ids), _AT_ONCE):
        await asyncio.gather(*(_close(services, user_id, each) for each in open_ids[start : start + _AT_ONCE]))


async def _accounts_of(services: Services, user_id: str) -> list[AccountRow]:
    found: list[AccountRow] = []
    after = -1
    async with services.database.connection() as connection:
        while True:  # a user has a bounded number of accounts
            these = await ledger.accounts_of(connection, user_id, after_seq=after, limit=_PAGE)
            found += these
            if len(these) < _PAGE:
                return found
            after = these[-1].seq


async def _close(services: Services, user_id: str, account_id: str) -> None:
    # The service closes it, whoever asked for it: that the user may be deleted was decided before.
    command = ChangeAccount(user_id, "admin", account_id, "close")
    target, timeout_s = services.partitions.of(user_id), services.call_timeout_s
    expect(AccountStatus, await services.node.call(target, command, timeout_s=timeout_s, retry=True))
