"""Accounts: a user's own (all of them for an admin), their balances and histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from bitnexus.actors import representation
from bitnexus.actors.ledger.accounts import (
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    STATUSES,
    canonical_uuid,
    house_account,
    shop_account_id,
    world_account_id,
)
from bitnexus.errors import BadCursor, NotFound
from bitnexus.http.api.opening import account_id_of, open_account
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transfer_pages import asked_of, shown_of, viewer_of
from bitnexus.http.described import Described
from bitnexus.http.fast_path import Answer, Finish
from bitnexus.http.gathering import Gathering, finishing
from bitnexus.http.moments import At, seq_of
from bitnexus.http.pages import PageQuery, Place, as_of, cursor_of, one_page, page, page_answer, place_of
from bitnexus.http.read import Read
from bitnexus.http.routes import Call, Route, data, json_bytes
from bitnexus.http.services import Services
from bitnexus.http.shapes.accounts import Account, AccountAt, Entry
from bitnexus.http.shapes.base import AsOf, One, PageAsOf
from bitnexus.http.validation import QueryModel
from bitnexus.principal import Principal
from bitnexus.storage import ledger, ledger_accounting, ledger_pages
from bitnexus.storage.ledger_pages import HistoryAsked, TransferPage
from bitnexus.storage.ledger_rows import AccountRow

PATH: Final = "/api/v1/accounts"
#: Pages that are read together, of up to 200 transfers each: how long they keep others waiting is bounded so.
_PAGES_AT_ONCE: Final = 8


class AccountQuery(QueryModel):
    """`at`: after that event, or at that time, instead of now."""

    at: Annotated[At | None, Field(description="an event's number, or a time of RFC 3339")] = None


class Accounts(Resource):
    """The resource."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._pages = Gathering(self._read_pages, most=_PAGES_AT_ONCE, timeout_s=services.call_timeout_s)

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [
            Route(
                "GET",
                PATH,
                self.index,
                "The caller's accounts, oldest first",
                query=PageQuery,
                described=Described({200: PageAsOf[Account]}, errors=(BadCursor,)),
            ),
            Route(
                "GET",
                PATH + "/{id}",
                self.show,
                "One account, now or at a moment of the past",
                query=AccountQuery,
                described=Described({200: One[Account] | AsOf[AccountAt]}, errors=(NotFound,)),
            ),
            Route(
                "GET",
                PATH + "/{id}/history",
                self.history,
                "An account's transfers, newest first",
                query=PageQuery,
                begin_read=self.begin_history,
                described=Described({200: PageAsOf[Entry]}, errors=(BadCursor, NotFound)),
            ),
        ]

    async def index(self, call: Call[None, PageQuery]) -> web.Response:
        """The caller's accounts, oldest first; an admin's or service's list has the default asset's world and shop too.

        Balances are those after `as_of_seq` of their page.
        """
        services, principal, query = self._services, call.principal, call.query
        bound_to = f"accounts:{principal.user_id}"
        place = place_of(services.cursors, query.cursor, bound_to)
        after = int(place.position) if place else -1
        as_of_seq, found = await self._accounts_of(principal, after, query.limit + 1)
        first_id = account_id_of(principal.user_id, services.default_asset)
        if place is None and len(found) <= query.limit and first_id not in {each.account_id for each in found}:
            await open_account(services, principal.user_id)
            as_of_seq, found = await self._accounts_of(principal, after, query.limit + 1)
        these, next_place = one_page(found, query.limit, lambda last: Place(last.seq, as_of_seq))
        following = cursor_of(services.cursors, next_place, bound_to)
        return page(call.request, [shown(each) for each in these], following=following, as_of_seq=as_of_seq)

    async def show(self, call: Call[None, AccountQuery]) -> web.Response:
        """One account; with `at`, its balance after that event or at that time.

        Raises:
            NotFound: it is not the caller's, or was not open yet at that moment.
            InvalidFields: there is no event of that number yet.
        """
        account = await visible_account(self._services, call.principal, call.request.match_info["id"])
        at = call.query.at
        if at is None:
            return data(shown(account))
        async with self._services.database.connection() as connection:
            seq = await seq_of(connection, at)
            if seq < account.seq:
                raise NotFound("The account was not open yet at that moment")
            balance = await ledger_accounting.balance_at(connection, account.account_id, seq)
        return as_of(_shown_at(account, balance), seq)

    async def history(self, call: Call[None, PageQuery]) -> web.Response:
        """The account's transfers, newest first, each with the balance after it."""
        id_ = call.request.match_info["id"]
        if not canonical_uuid(id_):
            raise NotFound
        read = Read(call.request.rel_url, id_, call.principal, call.query)
        found = await self._pages.get(self._asked(read))
        status, body, headers = self._entries(read, found)
        return json_bytes(body, status=status, headers=headers)

    def begin_history(self, read: Read[PageQuery], finish: Finish) -> None:
        """As :meth:`history`."""
        self._pages.ask(self._asked(read), finishing(finish, lambda found: self._entries(read, found)))

    def _asked(self, read: Read[PageQuery]) -> HistoryAsked:
        return asked_of(self._services, read.principal, read.id, read.query, _history_of(read.id))

    def _entries(self, read: Read[PageQuery], found: TransferPage | None) -> Answer:
        if found is None:
            raise NotFound
        these, following = shown_of(self._services, found, read.query, _history_of(read.id))
        entries = []
        for each in these:
            transfer = each[0]
            debited = transfer.debit_account_id == read.id
            entry = representation.as_it_is(*each)
            entry["direction"] = "debit" if debited else "credit"
            entry["balance"] = transfer.debit_balance if debited else transfer.credit_balance
            entries.append(entry)
        return page_answer(read.url, entries, following=following, as_of_seq=found.as_of_seq)

    async def _read_pages(self, asked: Sequence[HistoryAsked]) -> Mapping[HistoryAsked, TransferPage]:
        async with self._services.database.connection() as connection:
            return await ledger_pages.histories(connection, asked)

    async def _accounts_of(self, principal: Principal, after: int, limit: int) -> tuple[int, list[AccountRow]]:
        asset = self._services.default_asset
        house = [world_account_id(asset), shop_account_id(asset)] if principal.may_use_world else []
        async with self._services.database.connection() as connection:
            return await ledger_pages.accounts_as_of(
                connection, principal.user_id, and_ids=house, after_seq=after, limit=limit
            )


def _history_of(account_id: str) -> str:
    return f"history:{account_id}"  # what its cursors are bound to


async def visible_account(services: Services, principal: Principal, account_id: str) -> AccountRow:
    """The account, if the caller may see it.

    Raises:
        NotFound: no such account, or another user's: no difference to probe for.
    """
    if not canonical_uuid(account_id):
        raise NotFound
    async with services.database.connection() as connection:
        account = await ledger.account_by_id(connection, account_id)
    if account is None or viewer_of(principal) not in (None, account.owner_id):
        raise NotFound
    return account


def shown(account: AccountRow) -> dict[str, Any]:
    """The account as answers show it: `available` is what can be spent, None for no bound."""
    spendable = account.balance + account.credit_limit - account.debits_pending
    return {
        **_shown_at(account, account.balance),
        "debits_posted": account.debits_posted,
        "credits_posted": account.credits_posted,
        "status": STATUSES[account.state],
        "flags": account.flags,
        "credit_limit": account.credit_limit,
        "debits_pending": account.debits_pending,
        "credits_pending": account.credits_pending,
        "available": spendable if account.flags & DEBITS_MUST_NOT_EXCEED_CREDITS else None,
    }


def _shown_at(account: AccountRow, balance: int) -> dict[str, Any]:
    """What was so ever since it was opened, and the balance."""
    return {
        "id": account.account_id,
        "owner_id": account.owner_id or None,
        "kind": "user" if account.owner_id else house_account(account.account_id, account.asset) or "house",
        "asset": account.asset,
        "code": account.code,
        "balance": balance,
        "opened_seq": account.seq,
        "opened_at": representation.timestamp(account.time_us),
    }
