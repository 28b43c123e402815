"""Accounts: a user's own (all of them for an admin), their balances and histories."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from bitnexus.actors import representation
from bitnexus.actors.ledger.accounts import (
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    STATUSES,
    canonical_uuid,
    world_account_id,
)
from bitnexus.errors import NotFound
from bitnexus.http.api.opening import account_id_of, open_account
from bitnexus.http.pages import PageQuery, page, position_of
from bitnexus.http.routes import Call, Route, data
from bitnexus.http.services import Services
from bitnexus.principal import Principal
from bitnexus.storage import ledger
from bitnexus.storage.ledger_rows import AccountRow

PATH: Final = "/api/v1/accounts"


class Accounts:
    """The resource."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route("GET", PATH, self.index, "The caller's accounts"),
            Route("GET", PATH + "/{id}", self.show, "One account"),
            Route("GET", PATH + "/{id}/history", self.history, "An account's transfers, newest first", query=PageQuery),
        ]

    async def index(self, call: Call[None, None]) -> web.Response:
        """The caller's accounts, oldest first; an admin's list has the default asset's world account too."""
        services, principal = self._services, call.principal
        accounts = await self._accounts_of(principal)
        if account_id_of(principal.user_id, services.default_asset) not in {item.account_id for item in accounts}:
            await open_account(services, principal.user_id)
            accounts = await self._accounts_of(principal)
        return data([shown(account) for account in accounts])

    async def show(self, call: Call[None, None]) -> web.Response:
        """One account."""
        account = await visible_account(self._services, call.principal, call.request.match_info["id"])
        return data(shown(account))

    async def history(self, call: Call[None, PageQuery]) -> web.Response:
        """The account's transfers, newest first, each with the balance after it."""
        services, query = self._services, call.query
        account = await visible_account(services, call.principal, call.request.match_info["id"])
        bound_to = f"history:{account.account_id}"
        before = position_of(services.cursors, query.cursor, bound_to, start=ledger.END)
        async with services.database.connection() as connection:
            head = await ledger.last_block(connection)
            found = await ledger.history(connection, [account.account_id], before_seq=before, limit=query.limit + 1)
        shown = found[: query.limit]
        following = services.cursors.encode([shown[-1].seq], bound_to) if len(found) > len(shown) else None
        entries = []
        for transfer in shown:
            debited = transfer.debit_account_id == account.account_id
            balance = transfer.debit_balance if debited else transfer.credit_balance
            direction = "debit" if debited else "credit"
            entries.append({**representation.transaction(transfer), "direction": direction, "balance": balance})
        return page(call.request, entries, following=following, as_of_seq=head.tree_size - 1 if head else None)

    async def _accounts_of(self, principal: Principal) -> list[AccountRow]:
        async with self._services.database.connection() as connection:
            accounts = await ledger.accounts_of(connection, principal.user_id)
            if principal.may_use_world:
                world = await ledger.account_by_id(connection, world_account_id(self._services.default_asset))
                if world is not None:
                    accounts.append(world)
        return accounts


async def visible_account(services: Services, principal: Principal, account_id: str) -> AccountRow:
    """The account, if the caller may see it.

    Raises:
        NotFound: no such account, or another user's: no difference to probe for.
    """
    if not canonical_uuid(account_id):
        raise NotFound
    async with services.database.connection() as connection:
        account = await ledger.account_by_id(connection, account_id)
    if account is None or not (principal.is_admin or account.owner_id == principal.user_id):
        raise NotFound
    return account


def shown(account: AccountRow) -> dict[str, Any]:
    """The account as answers show it: `available` is what can be spent, None for no bound."""
    spendable = account.balance + account.credit_limit - account.debits_pending
    return {
        **_shown(account),
        "status": STATUSES[account.state],
        "flags": account.flags,
        "credit_limit": account.credit_limit,
        "debits_pending": account.debits_pending,
        "credits_pending": account.credits_pending,
        "available": spendable if account.flags & DEBITS_MUST_NOT_EXCEED_CREDITS else None,
    }


def _shown(account: AccountRow) -> dict[str, Any]:
    return {
        "id": account.account_id,
        "owner_id": account.owner_id or None,
        "kind": "user" if account.owner_id else "world",
        "asset": account.asset,
        "code": account.code,
        "balance": account.balance,
        "debits_posted": account.debits_posted,
        "credits_posted": account.credits_posted,
        "opened_seq": account.seq,
        "opened_at": representation.timestamp(account.time_us),
    }
