"""The shapes of the shop."""

from __future__ import annotations

from bitnexus.http.shapes.base import Shape, Time, Uuid
from bitnexus.http.shapes.transactions import Transaction


class Product(Shape):
    """A product; its price, for one unit, is in minor units of `asset`."""

    id: Uuid
    sku: str
    name: str
    description: str
    price: int
    asset: str
    stock: int
    units_asset: str
    stock_account_id: Uuid
    shop_account_id: Uuid
    inserted_at: Time
    updated_at: Time


class Restock(Shape):
    """Units that came in, and what is in stock since."""

    product_id: Uuid
    quantity: int
    stock: int
    transaction: Transaction


class Purchase(Shape):
    """A purchase, and the two transfers of which it is made."""

    id: Uuid
    product_id: Uuid
    sku: str
    quantity: int
    price: int
    amount: int
    asset: str
    account_id: Uuid
    units_account_id: Uuid
    inserted_at: Time
    payment: Transaction
    units: Transaction
