"""Queries of the table ``products``. Ids are canonical UUID strings, prices minor units, times microseconds of UTC."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from bitnexus.errors import Conflict
from bitnexus.storage.database import Executor

# A unit that is reserved by a pending transfer is not for sale.
_COLUMNS: Final = """
    p.id::text, p.ordinal, p.sku, p.name, p.description, p.price, p.asset, p.shop_account_id::text,
    p.stock_account_id::text, p.version, p.deleted_at IS NOT NULL AS is_deleted,
    (extract(epoch FROM p.inserted_at) * 1000000)::bigint AS inserted_at_us,
    (extract(epoch FROM p.updated_at) * 1000000)::bigint AS updated_at_us,
    coalesce(a.credits_posted - a.debits_posted - a.debits_pending, 0) AS stock
"""
_FROM: Final = "products p LEFT JOIN ledger_accounts a ON a.id = p.stock_account_id"
_INSERT: Final = """
    INSERT INTO products (id, sku, name, description, price, asset, shop_account_id, stock_account_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_BY_ID: Final = f"SELECT {_COLUMNS} FROM {_FROM} WHERE p.id = $1"  # noqa: S608 - constants alone
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM {_FROM} WHERE p.deleted_at IS NULL AND p.ordinal < $1 ORDER BY p.ordinal DESC LIMIT $2
"""  # noqa: S608
_SKU_IS_TAKEN: Final = "SELECT EXISTS (SELECT FROM products WHERE lower(sku) = lower($1))"
_UPDATE: Final = """
    UPDATE products SET name = coalesce($3, name), description = coalesce($4, description),
        price = coalesce($5, price), version = version + 1, updated_at = now()
    WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint[] IS NULL OR version = ANY($2))
    RETURNING true
"""
_DELETE: Final = """
    UPDATE products SET version = version + 1, updated_at = now(), deleted_at = now()
    WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint[] IS NULL OR version = ANY($2))
    RETURNING true
"""
#: What the asset of a product's units begins with.
UNITS_PREFIX: Final = "SKU:"
#: Larger than any ordinal: "before" of a first page.
END: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Product:
    """A row of ``products``; `stock` is how many units its stock account has for sale. `ordinal` orders products."""

    id: str
    ordinal: int
    sku: str
    name: str
    description: str
    price: int
    asset: str
    shop_account_id: str
    stock_account_id: str
    version: int
    is_deleted: bool
    inserted_at_us: int
    updated_at_us: int
    stock: int

    @property
    def units_asset(self) -> str:
        """The asset of its units."""
        return units_asset(self.sku)


def units_asset(sku: str) -> str:
    """The asset of a product's units: whole ones."""
    return f"{UNITS_PREFIX}{sku}/0"


async def insert(
    executor: Executor,
    *,
    product_id: str,
    sku: str,
    name: str,
    description: str,
    price: int,
    asset: str,
    shop_account_id: str,
    stock_account_id: str,
) -> None:
    """Add a product.

    Raises:
        Conflict: the SKU, compared without case, is another product's or was one's that is deleted.
    """
    try:
        await executor.execute(
            _INSERT, product_id, sku, name, description, price, asset, shop_account_id, stock_account_id
        )
    except asyncpg.UniqueViolationError as error:
        raise Conflict("The SKU has already been taken.") from error


async def sku_is_taken(executor: Executor, sku: str) -> bool:
    """Whether a product has this SKU, compared without case, or had it before it was deleted."""
    return bool(await executor.fetchval(_SKU_IS_TAKEN, sku))


async def by_id(executor: Executor, product_id: str) -> Product | None:
    """The product, deleted or not, if there is one."""
    row = await executor.fetchrow(_BY_ID, product_id)
    return None if row is None else _product(row)


async def page(executor: Executor, *, before: int = END, limit: int) -> list[Product]:
    """Products that are not deleted, the newest first, those with an `ordinal` below `before`."""
    return [_product(row) for row in await executor.fetch(_PAGE, before, limit)]


async def update(
    executor: Executor,
    product_id: str,
    *,
    versions: Collection[int] | None,
    name: str | None = None,
    description: str | None = None,
    price: int | None = None,
) -> bool:
    """Change what is given; False if there is no such product of one of these versions (None: of any)."""
    wanted = None if versions is None else list(versions)
    return bool(await executor.fetchval(_UPDATE, product_id, wanted, name, description, price))


async def delete(executor: Executor, product_id: str, *, versions: Collection[int] | None) -> bool:
    """Sell it no more; False if there is no such product of one of these versions (None: of any)."""
    return bool(await executor.fetchval(_DELETE, product_id, None if versions is None else list(versions)))


def _product(row: Mapping[str, Any]) -> Product:
    return Product(**row)
