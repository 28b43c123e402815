"""The ledger as outsiders and auditors read it, and the state of the service."""

from __future__ import annotations

from typing import Final

from bitnexus.http.client.listing import Listing
from bitnexus.http.client.models import AssetTotals, Block, Consistency, Health, TrialBalance
from bitnexus.http.client.money import given
from bitnexus.http.client.problems import NotUnderstood, Unavailable
from bitnexus.http.client.transport import Answer, Request, Transport, convert

LEDGER: Final = "/api/v1/ledger"


class Ledger:
    """Checkpoint, key, tiles and consistency are public; the rest is for admins."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def checkpoint(self) -> str:
        """The log's signed tree, as a C2SP note."""
        return (await self._get("checkpoint")).body.decode()

    async def key(self) -> str:
        """The key that verifies checkpoints."""
        return (await self._get("key")).body.decode().rstrip("\n")

    async def tile(self, level: int, tile: str) -> bytes:
        """The hashes of a tile of the tree, 32 bytes each; `tile` as in C2SP tlog-tiles: ``x001/234``, ``000.p/7``."""
        return (await self._get(f"tile/{level}/{tile}")).body

    async def consistency(self, old: int, new: int) -> Consistency:
        """The proof that the tree of `new` events extends that of `old`."""
        request = Request(method="GET", path=f"{LEDGER}/consistency", query={"old": old, "new": new}, is_safe=True)
        return (await self._transport.send(request)).data(Consistency)

    def blocks(self, *, limit: int = 50) -> Listing[Block]:
        """The blocks, newest first."""
        return Listing(self._transport, f"{LEDGER}/blocks", Block, {"limit": limit})

    async def trial_balance(self, *, at: str | int | None = None) -> TrialBalance:
        """The sums of every asset, as of one event; `at`: after the event of that number, or at that time."""
        listing = Listing(self._transport, f"{LEDGER}/trial-balance", AssetTotals, given(at=at, limit=200))
        assets: list[AssetTotals] = []
        balanced, as_of_seq = True, -1
        async for page in listing.pages():
            assets += page.items
            balanced, as_of_seq = balanced and page.body["balanced"] is True, page.as_of_seq or 0
        return TrialBalance(assets=assets, balanced=balanced, as_of_seq=as_of_seq)

    async def _get(self, what: str) -> Answer:
        return await self._transport.send(
            Request(method="GET", path=f"{LEDGER}/{what}", is_safe=True, with_token=False)
        )


class System:
    """Is it well, and in numbers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def health(self) -> Health:
        """The state of the service, also when it is not well: that is an answer, and not asked for again.

        Raises:
            NoAnswer, Unavailable: it cannot even say so.
        """
        request = Request(method="GET", path="/health", with_token=False)
        try:
            answer = await self._transport.send(request)
        except Unavailable as error:
            if error.body is None:
                raise
            return convert(error.body, Health)
        found = answer.json()
        if not isinstance(found, dict):
            raise NotUnderstood("The answer is no state of health")
        return convert(found, Health)

    async def metrics(self) -> str:
        """Prometheus text of all processes."""
        answer = await self._transport.send(Request(method="GET", path="/metrics", is_safe=True, with_token=False))
        return answer.body.decode()
