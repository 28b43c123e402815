"""Purchases: money one way and units the other, as one command of the buyer's."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import Field

from bitnexus.actors import representation
from bitnexus.actors.ledger.accounts import MAX_AMOUNT, canonical_uuid, units_transfer_id
from bitnexus.actors.messages import Purchase, TransferResult, TransferResults
from bitnexus.actors.transactions.purchase import Bought, Differs, NotBought, Outcome, outcome
from bitnexus.errors import InvalidFields, NotFound, Refused, Violation
from bitnexus.http.answers import expect
from bitnexus.http.api.opening import account_id_of
from bitnexus.http.api.products import PATH as PRODUCTS
from bitnexus.http.api.resource import Resource
from bitnexus.http.api.transfer_requests import id_of
from bitnexus.http.described import SHOP, Described
from bitnexus.http.routes import Call, Route, data
from bitnexus.http.shapes.base import One
from bitnexus.http.shapes.products import Purchase as PurchaseShape
from bitnexus.http.validation import Model, UuidText
from bitnexus.storage import ledger_tree, products
from bitnexus.storage.products import Product

TRANSACTIONS: Final = "/api/v1/transactions"
PATH: Final = PRODUCTS + "/{id}/purchases"


class NewPurchase(Model):
    """How many units; `account_id` is what pays, the buyer's first account in the price's asset if it is not given."""

    quantity: Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
    account_id: UuidText | None = None


class CreatePurchase(Model):
    """The body of POST /products/:id/purchases."""

    purchase: NewPurchase


class Purchases(Resource):
    """The resource."""

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        described = Described(
            {201: One[PurchaseShape], 200: One[PurchaseShape]},
            errors=(NotFound,),
            refusals=SHOP,
            idempotent=True,
            example={"purchase": {"quantity": 2}},
        )
        return [Route("POST", PATH, self.create, "Buy units of a product", body=CreatePurchase, described=described)]

    async def create(self, call: Call[CreatePurchase, None]) -> web.Response:
        """Buy: 201 the first time, 200 and `Idempotent-Replayed` when the key was used for this purchase before.

        A repeated purchase gets its first answer, whatever has become of the product and its price.

        Raises:
            Refused: for good: ``insufficient_funds``, ``out_of_stock``, or another refusal of the ledger.
            NotFound: no such product, or the buyer has no such account.
            BitNexusError: before any effect, or with an unknown one; repeating with the same key is safe.
        """
        services, product_id = self._services, call.request.match_info["id"]
        purchase_id = id_of(call.request.headers.get("Idempotency-Key"), None, call.principal.user_id)
        async with services.database.connection() as connection:
            product = await products.by_id(connection, product_id) if canonical_uuid(product_id) else None
            if product is None:
                raise NotFound
            if product.is_deleted and await ledger_tree.transfer_with_salt(connection, purchase_id) is None:
                raise NotFound
        message = self._message(call, product, purchase_id)
        target = services.partitions.of(call.principal.user_id)
        answer = await services.node.call(target, message, timeout_s=services.call_timeout_s, retry=True)
        found = outcome(message, expect(TransferResults, answer).results)
        if isinstance(found, Differs):
            found = await self._earlier(message, found)
        if isinstance(found, NotBought):
            raise Refused(found.refusal, replayed=found.replayed)
        assert isinstance(found, Bought)
        shown = _shown(product, message, found)
        if found.replayed:
            return data(shown, headers={"Idempotent-Replayed": "true"})
        return data(shown, status=201, headers={"Location": f"{TRANSACTIONS}/{purchase_id}"})

    def _message(self, call: Call[CreatePurchase, None], product: Product, purchase_id: str) -> Purchase:
        principal, wanted = call.principal, call.body.purchase
        amount = product.price * wanted.quantity
        if amount > MAX_AMOUNT:
            violation = Violation("#/purchase/quantity", "the price of so many is beyond what can be paid at once")
            raise InvalidFields(violations=(violation,))
        metadata = {"product_id": product.id, "purchase_id": purchase_id, "quantity": wanted.quantity}
        return Purchase(
            user_id=principal.user_id,
            role=principal.role,
            purchase_id=purchase_id,
            payer_account_id=wanted.account_id or account_id_of(principal.user_id, product.asset),
            shop_account_id=product.shop_account_id,
            amount=amount,
            asset=product.asset,
            stock_account_id=product.stock_account_id,
            units_account_id=account_id_of(principal.user_id, product.units_asset),
            quantity=wanted.quantity,
            units_asset=product.units_asset,
            metadata=orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS).decode(),
        )

    async def _earlier(self, message: Purchase, differs: Differs) -> Outcome:
        """The first outcome of the same purchase, made at another price.

        Raises:
            Refused: it was another command.
        """
        ids = message.purchase_id, units_transfer_id(message.purchase_id)
        async with self._services.database.connection() as connection:
            rows = [await ledger_tree.transfer_with_salt(connection, id_) for id_ in ids]
        results = []
        for row in rows:
            # Product and quantity stand in the metadata; the price does not.
            if row is None or row.transfer.metadata != message.metadata:
                raise Refused(differs.refusal)
            transfer = row.transfer
            carried_out = None if row.refusal else transfer
            results.append(TransferResult(transfer.transfer_id, carried_out, row.refusal, replayed=True))
        if rows[0] is None or rows[0].transfer.debit_account_id != message.payer_account_id:
            raise Refused(differs.refusal)
        return outcome(message, results)


def _shown(product: Product, message: Purchase, bought: Bought) -> dict[str, Any]:
    """A purchase as answers show it: out of its transfers, which never change."""
    payment, units = bought.payment, bought.units
    return {
        "id": message.purchase_id,
        "product_id": product.id,
        "sku": product.sku,
        "quantity": units.amount,
        "price": payment.amount // units.amount,
        "amount": payment.amount,
        "asset": payment.asset,
        "account_id": payment.debit_account_id,
        "units_account_id": units.credit_account_id,
        "inserted_at": representation.timestamp(payment.time_us),
        "payment": representation.transaction(payment),
        "units": representation.transaction(units),
    }
