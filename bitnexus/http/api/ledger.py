"""What outsiders verify the log with: checkpoint, key, tiles (C2SP tlog-tiles), consistency and inclusion proofs."""

from __future__ import annotations

import re
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from bitnexus.actors.ledger.accounts import canonical_uuid
from bitnexus.actors.ledger.archive import consistency_proof, inclusion_proof, leaf_of, tile
from bitnexus.actors.ledger.checkpoint import parse, tlog_proof
from bitnexus.actors.ledger.log import TILE_HEIGHT, TILE_WIDTH, leaf_hash
from bitnexus.actors.messages import GetCheckpoint, SignedCheckpoint
from bitnexus.errors import CheckpointRefused, InvalidFields, NotFound, Violation
from bitnexus.http.answers import expect
from bitnexus.http.api.resource import Resource
from bitnexus.http.described import Described, Media
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.ledger import Consistency, Inclusion
from bitnexus.http.validation import QueryModel
from bitnexus.principal import Principal
from bitnexus.storage import ledger, ledger_tree

PATH: Final = "/api/v1/ledger"
LEDGER: Final = "ledger"
#: The levels that a log of 2**63 events has.
HIGHEST_LEVEL: Final = 7
#: A tile's number in groups of three digits, all but the last behind an x; the width of a tile that is not full.
_TILE: Final = re.compile(r"((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


class ConsistencyQuery(QueryModel):
    """Two sizes of the tree, `old` ≤ `new`."""

    old: Annotated[int, Field(ge=1, le=2**63 - 1)]
    new: Annotated[int, Field(ge=1, le=2**63 - 1)]


class Ledger(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        public = Access.PUBLIC
        text = Described({200: Media("text/plain; charset=utf-8")}, errors=(CheckpointRefused,))
        hashes = Described({200: Media("application/octet-stream", binary=True)}, errors=(NotFound,))
        proven = Described({200: One[Inclusion]}, errors=(NotFound, CheckpointRefused))
        told = Described({200: Media("text/plain; charset=utf-8")}, errors=(NotFound, CheckpointRefused))
        tile = PATH + "/tile/{level:[0-9]}/{tile:.+}"
        return [
            Route("GET", PATH + "/checkpoint", self.checkpoint, "The log's signed tree", access=public, described=text),
            Route("GET", PATH + "/key", self.key, "The key that verifies checkpoints", access=public, described=text),
            Route("GET", tile, self.tile, "A tile of the log's tree", access=public, described=hashes),
            Route(
                "GET",
                PATH + "/consistency",
                self.consistency,
                "The proof that one tree extends another",
                access=public,
                query=ConsistencyQuery,
                described=Described({200: One[Consistency]}, errors=(NotFound,)),
            ),
            Route(
                "GET",
                "/api/v1/transactions/{id}/proof",
                self.proof,
                "The proof that a transfer is in the log",
                described=proven,
            ),
            Route(
                "GET",
                "/api/v1/transactions/{id}/tlog-proof",
                self.tlog_proof,
                "That proof, as C2SP has it",
                described=told,
            ),
        ]

    async def checkpoint(self, _: Call[None, None]) -> web.Response:
        """A C2SP checkpoint of the newest tree, as text."""
        return web.Response(text=(await self._signed()).note, headers={"Cache-Control": "no-cache"})

    async def key(self, _: Call[None, None]) -> web.Response:
        """The verifier key, as text."""
        return web.Response(text=(await self._signed()).verifier_key + "\n")

    async def tile(self, call: Call[None, None]) -> web.Response:
        """The hashes of a tile, 32 bytes each: all 256, or the first so many (``….p/<width>``) of one that grows."""
        level, found = int(call.request.match_info["level"]), _TILE.fullmatch(call.request.match_info["tile"])
        if found is None or level > HIGHEST_LEVEL:
            raise NotFound
        number, width = int(re.sub("[x/]", "", found[1])), int(found[2] or TILE_WIDTH)
        if width > TILE_WIDTH or (found[2] and width == TILE_WIDTH):
            raise NotFound
        async with self._services.database.connection() as connection:
            head = await ledger.last_block(connection)
            hashes = (head.tree_size if head else 0) >> (TILE_HEIGHT * level)
            if number * TILE_WIDTH + width > hashes:
                raise NotFound("The tree has no such tile yet")
            body = b"".join(await tile(connection, level, number, width))
        return web.Response(body=body, content_type="application/octet-stream", headers=_FOR_EVER)

    async def consistency(self, call: Call[None, ConsistencyQuery]) -> web.Response:
        """The proof of RFC 6962, 2.1.2, in hexadecimal, that the tree of `new` events extends that of `old`."""
        old, new = call.query.old, call.query.new
        if old > new:
            raise InvalidFields(violations=(Violation("#/query/old", "must not exceed new"),))
        async with self._services.database.connection() as connection:
            head = await ledger.last_block(connection)
            if head is None or new > head.tree_size:
                raise NotFound("The tree has not so many events yet")
            nodes = await consistency_proof(connection, old, new)
        return data({"old": old, "new": new, "proof": [node.hex() for node in nodes]})

    async def proof(self, call: Call[None, None]) -> web.Response:
        """A transfer's leaf, the proof of RFC 6962, 2.1.1, in hexadecimal, and the checkpoint that it leads to."""
        index, leaf, nodes, note = await self._proved(call)
        return data(
            {
                "index": index,
                "leaf": leaf.hex(),
                "leaf_hash": leaf_hash(leaf).hex(),
                "proof": [node.hex() for node in nodes],
                "checkpoint": note,
            }
        )

    async def tlog_proof(self, call: Call[None, None]) -> web.Response:
        """The same as text, a C2SP tlog-proof whose extra data is the leaf."""
        index, leaf, nodes, note = await self._proved(call)
        return web.Response(text=tlog_proof(leaf, index, nodes, note), headers={"Cache-Control": "no-cache"})

    async def _proved(self, call: Call[None, None]) -> tuple[int, bytes, list[bytes], str]:
        """The place of a transfer that the caller may see, its leaf, the proof, and the checkpoint."""
        wanted = call.request.match_info["id"]
        if not canonical_uuid(wanted):
            raise NotFound
        signed = await self._signed()
        size = parse(signed.note).size
        async with self._services.database.connection() as connection:
            row = await ledger_tree.transfer_with_salt(connection, wanted)
            if row is None or row.refusal is not None or row.transfer.seq >= size:
                raise NotFound
            accounts = {row.transfer.debit_account_id, row.transfer.credit_account_id}
            if not await self._may_see(connection, call.principal, row.transfer.user_id, accounts):
                raise NotFound
            nodes = await inclusion_proof(connection, row.transfer.seq, size)
        return row.transfer.seq, leaf_of(row), nodes, signed.note

    async def _signed(self) -> SignedCheckpoint:
        services = self._services
        answer = await services.node.call(LEDGER, GetCheckpoint(), timeout_s=services.call_timeout_s, retry=True)
        return expect(SignedCheckpoint, answer)

    @staticmethod
    async def _may_see(db: ledger.Executor, principal: Principal, user_id: str, accounts: set[str]) -> bool:
        if principal.is_admin or user_id == principal.user_id:
            return True
        own = {item.account_id for item in await ledger.accounts_of(db, principal.user_id)}
        return not own.isdisjoint(accounts)
