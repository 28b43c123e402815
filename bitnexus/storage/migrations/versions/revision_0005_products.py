"""Products: what the shop sells. Their stock is an account of the ledger."""

from alembic import op

revision = "0005"
down_revision = "0004"

UP = (
    # A deleted product stays: its units are somebody's, and its SKU names their asset for ever.
    """
    CREATE TABLE products (
        id uuid PRIMARY KEY,
        ordinal bigint GENERATED ALWAYS AS IDENTITY,
        sku text NOT NULL CHECK (sku ~ '^[A-Za-z0-9._-]{1,56}$'),
        name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
        description text NOT NULL DEFAULT '' CHECK (length(description) <= 5000),
        price bigint NOT NULL CHECK (price BETWEEN 1 AND 9007199254740991),
        asset text NOT NULL,
        shop_account_id uuid NOT NULL,
        stock_account_id uuid NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        inserted_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        deleted_at timestamptz
    )
    """,
    "CREATE UNIQUE INDEX products_sku_key ON products (lower(sku))",
    "CREATE UNIQUE INDEX products_for_sale ON products (ordinal) WHERE deleted_at IS NULL",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE products")
