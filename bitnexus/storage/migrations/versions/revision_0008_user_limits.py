"""Limits of what a user may transfer, set by an admin."""

from alembic import op

revision = "0008"
down_revision = "0007"

UP = (
    # All rows of a user are of one version: limits are replaced together. None of the two bounds: no row.
    """
    CREATE TABLE user_limits (
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        asset text NOT NULL,
        per_transfer bigint CHECK (per_transfer >= 0),
        per_day bigint CHECK (per_day >= 0),
        version bigint NOT NULL,
        set_by uuid NOT NULL,
        set_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, asset),
        CONSTRAINT user_limits_bound CHECK (per_transfer IS NOT NULL OR per_day IS NOT NULL)
    )
    """,
    "CREATE SEQUENCE user_limits_version OWNED BY user_limits.version",
)

DOWN = ("DROP TABLE user_limits",)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
