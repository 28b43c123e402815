"""Products and what is bought of them."""

from __future__ import annotations

from typing import Final, TypedDict, Unpack

from bitnexus.http.client.listing import Listing
from bitnexus.http.client.models import Product, Purchase, Restock
from bitnexus.http.client.money import given, keyed
from bitnexus.http.client.transport import Request, Transport

PRODUCTS: Final = "/api/v1/products"


class ProductChanges(TypedDict, total=False):
    """What may change of a product."""

    name: str
    description: str
    price: int


class Products:
    """Products: everybody reads and buys them, an admin writes them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 50) -> Listing[Product]:
        """Products with their stock, newest first."""
        return Listing(self._transport, PRODUCTS, Product, {"limit": limit})

    async def get(self, product_id: str) -> Product:
        """One product."""
        answer = await self._transport.send(Request(method="GET", path=f"{PRODUCTS}/{product_id}", is_safe=True))
        return answer.data(Product, etag=answer.known["etag"])

    async def create(
        self, *, sku: str, name: str, price: int, description: str = "", asset: str | None = None
    ) -> Product:
        """Sell something; its stock is empty. Sent once: its SKU is taken when it was made."""
        fields = given(sku=sku, name=name, price=price, description=description, asset=asset)
        answer = await self._transport.send(Request(method="POST", path=PRODUCTS, body={"product": fields}))
        return answer.data(Product, etag=answer.known["etag"])

    async def update(self, product_id: str, *, etag: str = "*", **changes: Unpack[ProductChanges]) -> Product:
        """Change `name`, `description` or `price`, if `etag` is still the product's."""
        request = Request(
            method="PATCH", path=f"{PRODUCTS}/{product_id}", body={"product": changes}, headers={"If-Match": etag}
        )
        answer = await self._transport.send(request)
        return answer.data(Product, etag=answer.known["etag"])

    async def delete(self, product_id: str, *, etag: str = "*") -> None:
        """Sell it no more."""
        path = f"{PRODUCTS}/{product_id}"
        await self._transport.send(Request(method="DELETE", path=path, headers={"If-Match": etag}))

    async def restock(self, product_id: str, quantity: int, *, key: str | None = None) -> Restock:
        """Add units to the stock."""
        request = Request(
            method="POST",
            path=f"{PRODUCTS}/{product_id}/restocks",
            body={"restock": {"quantity": quantity}},
            headers=keyed(key),
            is_safe=True,
        )
        answer = await self._transport.send(request)
        return answer.data(Restock, replayed=answer.known["replayed"])

    async def buy(
        self, product_id: str, quantity: int = 1, *, account_id: str | None = None, key: str | None = None
    ) -> Purchase:
        """Buy units; `account_id` pays, else the caller's first account in the price's asset.

        Raises:
            Refused: ``insufficient_funds``, ``out_of_stock``; nothing was bought.
        """
        request = Request(
            method="POST",
            path=f"{PRODUCTS}/{product_id}/purchases",
            body={"purchase": given(quantity=quantity, account_id=account_id)},
            headers=keyed(key),
            is_safe=True,
        )
        answer = await self._transport.send(request)
        return answer.data(Purchase, replayed=answer.known["replayed"])
