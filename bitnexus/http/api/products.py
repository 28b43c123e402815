"""Products: what the shop sells. Everybody reads them; an admin writes them and fills their stock."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from bitnexus.actors import representation
from bitnexus.actors.ledger.accounts import (
    DEBITS_MUST_NOT_EXCEED_CREDITS,
    MAX_AMOUNT,
    canonical_uuid,
    shop_account_id,
    stock_account_id,
    world_account_id,
)
from bitnexus.actors.messages import PostTransfer, TransferResult
from bitnexus.errors import BadCursor, Conflict, NotFound, PreconditionFailed, Refused, UnknownMessage
from bitnexus.http.answers import expect
from bitnexus.http.api.opening import open_house_account
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transfer_requests import id_of
from bitnexus.http.described import LEDGER, Described
from bitnexus.http.etags import etag, is_known, versions_to_match
from bitnexus.http.pages import PageQuery, Place, cursor_of, one_page, page, place_of
from bitnexus.http.routes import Access, Call, Route, data
from bitnexus.http.shapes.base import One, PageAsOf
from bitnexus.http.shapes.products import Product as ProductShape
from bitnexus.http.shapes.products import Restock
from bitnexus.http.validation import Model
from bitnexus.storage import ledger, products
from bitnexus.storage.database import Executor
from bitnexus.storage.products import Product

PATH: Final = "/api/v1/products"
_EXAMPLE: Final = {"product": {"sku": "coffee-1kg", "name": "Coffee", "price": 1890, "asset": "USD/2"}}

Name = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=200)]
Description = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=5_000)]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Sku = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,56}$")]


def _is_money(asset: str) -> str:
    if asset.startswith(products.UNITS_PREFIX):
        raise PydanticCustomError("asset", "Must not be the units of a product")
    return asset


#: What is paid with.
PriceAsset = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z][A-Za-z0-9:._-]{0,59}/(?:[0-9]|1[0-8])$"),
    AfterValidator(_is_money),
    Field(json_schema_extra={"not": {"pattern": f"^{products.UNITS_PREFIX}"}}),
]


class NewProduct(Model):
    """A product; its price, for one unit, is in minor units of `asset`. SKU and asset stay as they are."""

    sku: Sku
    name: Name
    description: Description = ""
    price: Amount
    asset: PriceAsset | None = None


class CreateProduct(Model):
    """The body of POST /products."""

    product: NewProduct


class ProductChanges(Model):
    """What is to change; what is not given stays."""

    name: Name | None = None
    description: Description | None = None
    price: Amount | None = None


class UpdateProduct(Model):
    """The body of PUT and PATCH /products/:id."""

    product: ProductChanges


class NewUnits(Model):
    """How many units come into stock."""

    quantity: Amount


class CreateRestock(Model):
    """The body of POST /products/:id/restocks."""

    restock: NewUnits


class Products(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        admin, one, body = Access.ADMIN, PATH + "/{id}", UpdateProduct
        index = Described({200: PageAsOf[ProductShape]}, errors=(BadCursor,))
        shown = Described({200: One[ProductShape]}, errors=(NotFound,), if_none_match=True)
        made = Described({201: One[ProductShape]}, errors=(Conflict,), tagged=True, example=_EXAMPLE)
        changed = Described(
            {200: One[ProductShape]}, errors=(NotFound,), if_match=True, example={"product": {"price": 450}}
        )
        deleted = Described({204: None}, errors=(NotFound,), if_match=True)
        filled = Described(
            {201: One[Restock], 200: One[Restock]},
            errors=(NotFound,),
            refusals=LEDGER,
            idempotent=True,
            example={"restock": {"quantity": 100}},
        )
        return [
            Route("GET", PATH, self.index, "Products with their stock, newest first", query=PageQuery, described=index),
            Route("GET", one, self.show, "One product", described=shown),
            Route("POST", PATH, self.create, "Sell a product", access=admin, body=CreateProduct, described=made),
            Route("PUT", one, self.update, "Change a product", access=admin, body=body, described=changed),
            Route("PATCH", one, self.update, "Change a product", access=admin, body=body, described=changed),
            Route("DELETE", one, self.delete, "Sell a product no more", access=admin, described=deleted),
            Route(
                "POST",
                one + "/restocks",
                self.restock,
                "Add units to the stock",
                access=admin,
                body=CreateRestock,
                described=filled,
            ),
        ]

    async def index(self, call: Call[None, PageQuery]) -> web.Response:
        """Products, newest first; the stock of each is that after `as_of_seq` of its page."""
        cursors, query, bound_to = self._services.cursors, call.query, "products"
        place = place_of(cursors, query.cursor, bound_to)
        before = int(place.position) if place else products.END
        async with (
            self._services.database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            as_of_seq = await ledger.last_seq(connection)
            found = await products.page(connection, before=before, limit=query.limit + 1)
        shown, next_place = one_page(found, query.limit, lambda last: Place(last.ordinal, as_of_seq))
        following = cursor_of(cursors, next_place, bound_to)
        return page(call.request, [product_shown(each) for each in shown], following=following, as_of_seq=as_of_seq)

    async def show(self, call: Call[None, None]) -> web.Response:
        """One product; 304 if the client has it as it is, its stock too."""
        async with self._services.database.connection() as connection:
            product = await self._for_sale(connection, call.request.match_info["id"])
        if is_known(call.request.headers.get("If-None-Match"), _tag(product)):
            return web.Response(status=304, headers={"ETag": _tag(product)})
        return _answer(product)

    async def create(self, call: Call[CreateProduct, None]) -> web.Response:
        """Add a product, its stock empty, after its accounts in the ledger.

        Raises:
            Conflict: the SKU is another product's, or was one's that is deleted.
        """
        services, wanted = self._services, call.body.product
        asset, units = wanted.asset or services.default_asset, products.units_asset(wanted.sku)
        async with services.database.connection() as connection:
            if await products.sku_is_taken(connection, wanted.sku):
                raise Conflict("The SKU has already been taken.")
        # First the accounts, so that no product is ever without them. Two who want one SKU open the same ones.
        bounded = DEBITS_MUST_NOT_EXCEED_CREDITS
        await open_house_account(services, world_account_id(units), units)
        await open_house_account(services, stock_account_id(units), units, flags=bounded)
        await open_house_account(services, world_account_id(asset), asset)
        await open_house_account(services, shop_account_id(asset), asset, flags=bounded)
        product_id = str(uuid.uuid4())
        async with services.database.connection() as connection:
            await products.insert(
                connection,
                product_id=product_id,
                sku=wanted.sku,
                name=wanted.name,
                description=wanted.description,
                price=wanted.price,
                asset=asset,
                shop_account_id=shop_account_id(asset),
                stock_account_id=stock_account_id(units),
            )
            product = await self._for_sale(connection, product_id)
        return _answer(product, status=201, location=f"{PATH}/{product_id}")

    async def update(self, call: Call[UpdateProduct, None]) -> web.Response:
        """Change what the body has; purchases from now on are at the new price.

        Raises:
            NotFound, PreconditionRequired, PreconditionFailed: nothing was changed.
        """
        product_id, changes = call.request.match_info["id"], call.body.product
        versions = versions_to_match(call.request.headers.get("If-Match"))
        async with self._services.database.connection() as connection:
            await self._for_sale(connection, product_id)
            if not await products.update(
                connection,
                product_id,
                versions=versions,
                name=changes.name,
                description=changes.description,
                price=changes.price,
            ):
                raise PreconditionFailed
            return _answer(await self._for_sale(connection, product_id))

    async def delete(self, call: Call[None, None]) -> web.Response:
        """Sell it no more; what was bought, and what is left in stock, stays in the ledger.

        Raises:
            NotFound, PreconditionRequired, PreconditionFailed: nothing was changed.
        """
        product_id = call.request.match_info["id"]
        versions = versions_to_match(call.request.headers.get("If-Match"))
        async with self._services.database.connection() as connection:
            await self._for_sale(connection, product_id)
            if not await products.delete(connection, product_id, versions=versions):
                raise PreconditionFailed
        return web.Response(status=204)

    async def restock(self, call: Call[CreateRestock, None]) -> web.Response:
        """Bring units in, by a transfer from the world account of the product's asset.

        Raises:
            Refused: by the ledger, for good.
            BitNexusError: before any effect, or with an unknown one; repeating with the same key is safe.
        """
        services, principal = self._services, call.principal
        async with services.database.connection() as connection:
            product = await self._for_sale(connection, call.request.match_info["id"])
        message = PostTransfer(
            user_id=principal.user_id,
            role=principal.role,
            transfer_id=id_of(call.request.headers.get("Idempotency-Key"), None, principal.user_id),
            debit_account_id=world_account_id(product.units_asset),
            credit_account_id=product.stock_account_id,
            amount=call.body.restock.quantity,
            asset=product.units_asset,
        )
        target = services.partitions.of(principal.user_id)
        answer = await services.node.call(target, message, timeout_s=services.call_timeout_s, retry=True)
        result = expect(TransferResult, answer)
        if result.refusal is not None:
            raise Refused(result.refusal, replayed=result.replayed)
        if result.transfer is None or result.transfer_id != message.transfer_id:
            raise UnknownMessage("the answer is to another transfer")
        shown = {
            "product_id": product.id,
            "quantity": result.transfer.amount,
            "stock": result.transfer.credit_balance,
            "transaction": representation.transaction(result.transfer),
        }
        if result.replayed:
            return data(shown, headers={"Idempotent-Replayed": "true"})
        return data(shown, status=201, headers={"Location": f"/api/v1/transactions/{result.transfer_id}"})

    @staticmethod
    async def _for_sale(connection: Executor, product_id: str) -> Product:
        product = await products.by_id(connection, product_id) if canonical_uuid(product_id) else None
        if product is None or product.is_deleted:
            raise NotFound
        return product


def product_shown(product: Product) -> dict[str, Any]:
    """A product as answers show it."""
    return {
        "id": product.id,
        "sku": product.sku,
        "name": product.name,
        "description": product.description,
        "price": product.price,
        "asset": product.asset,
        "stock": product.stock,
        "units_asset": product.units_asset,
        "stock_account_id": product.stock_account_id,
        "shop_account_id": product.shop_account_id,
        "inserted_at": representation.timestamp(product.inserted_at_us),
        "updated_at": representation.timestamp(product.updated_at_us),
    }


def _tag(product: Product) -> str:
    return etag(product.version, product.stock)


def _answer(product: Product, *, status: int = 200, location: str | None = None) -> web.Response:
    headers = {"ETag": _tag(product)}
    if location is not None:
        headers["Location"] = location
    return data(product_shown(product), status=status, headers=headers)
