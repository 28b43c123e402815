"""What auditors and operators read of the ledger as a whole: its blocks, and the trial balance. For admins."""

from __future__ import annotations

import json
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from bitnexus.actors import representation
from bitnexus.errors import BadCursor
from bitnexus.http.api.resource import Resource
from bitnexus.http.described import Described
from bitnexus.http.moments import At, seq_of
from bitnexus.http.pages import PageQuery, Place, cursor_of, next_link, one_page, page, place_of
from bitnexus.http.routes import Access, Call, Route, json_bytes
from bitnexus.http.shapes.base import PageAsOf
from bitnexus.http.shapes.ledger import Block, TrialBalance
from bitnexus.storage import ledger, ledger_accounting

PATH: Final = "/api/v1/ledger"


class TrialBalanceQuery(PageQuery):
    """The list's page; `at`: after that event, or at that time, instead of now."""

    at: Annotated[At | None, Field(description="an event's number, or a time of RFC 3339")] = None


class Books(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        admin = Access.ADMIN
        return [
            Route(
                "GET",
                PATH + "/blocks",
                self.blocks,
                "The ledger's blocks, newest first",
                access=admin,
                query=PageQuery,
                described=Described({200: PageAsOf[Block]}, errors=(BadCursor,)),
            ),
            Route(
                "GET",
                PATH + "/trial-balance",
                self.trial_balance,
                "Debits and credits of each asset, now or at a moment of the past",
                access=admin,
                query=TrialBalanceQuery,
                described=Described({200: TrialBalance}, errors=(BadCursor,)),
            ),
        ]

    async def blocks(self, call: Call[None, PageQuery]) -> web.Response:
        """The blocks, newest first, with their hashes and the tree after each."""
        cursors, query, bound_to = self._services.cursors, call.query, "blocks"
        place = place_of(cursors, query.cursor, bound_to)
        async with self._services.database.connection() as connection:
            before = int(place.position) if place else ledger.END
            found = await ledger.blocks_before(connection, before, limit=query.limit + 1)
        as_of_seq = place.as_of_seq if place else found[0].tree_size - 1 if found else -1
        shown, next_place = one_page(found, query.limit, lambda last: Place(last.height, as_of_seq))
        # Each tells where it begins by the one before it.
        sizes = [block.tree_size for block in found[1:]] + [0]
        blocks = [representation.block(block, size) for block, size in zip(shown, sizes, strict=False)]
        return page(call.request, blocks, following=cursor_of(cursors, next_place, bound_to), as_of_seq=as_of_seq)

    async def trial_balance(self, call: Call[None, TrialBalanceQuery]) -> web.Response:
        """Each asset's sums over all accounts: of one snapshot, which all pages show."""
        cursors, query = self._services.cursors, call.query
        bound_to = f"trial-balance:{query.at}"
        place = place_of(cursors, query.cursor, bound_to)
        async with self._services.database.connection() as connection:
            if place is not None:
                at_seq = place.as_of_seq
            else:
                at_seq = ledger.END if query.at is None else await seq_of(connection, query.at)
            found = await ledger_accounting.trial_balance(
                connection,
                at_seq=at_seq,
                after_asset=str(place.position) if place else "",
                limit=query.limit + 1,
            )
        shown, next_place = one_page(found.assets, query.limit, lambda last: Place(last.asset, found.as_of_seq))
        following = cursor_of(cursors, next_place, bound_to)
        body = {
            "data": [representation.asset_totals(each) for each in shown],
            "balanced": not found.unbalanced,
            "page": {"next": following, "has_more": following is not None},
            "as_of_seq": found.as_of_seq,
        }
        # The standard encoder: sums of many accounts may exceed 64 bits.
        return json_bytes(json.dumps(body).encode(), headers=next_link(call.request.rel_url, following))
