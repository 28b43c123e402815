"""Annotations: the words that transfers are given after they have been recorded."""

from alembic import op

revision = "0006"
down_revision = "0005"

UP = (
    """
    CREATE TABLE ledger_annotations (
        seq bigint PRIMARY KEY,
        id uuid NOT NULL UNIQUE,
        transfer_id uuid NOT NULL,
        user_id uuid NOT NULL,
        description text NOT NULL,
        metadata text NOT NULL,
        block bigint NOT NULL,
        time_us bigint NOT NULL,
        salt bytea NOT NULL
    )
    """,
    "CREATE INDEX ledger_annotations_of_transfer ON ledger_annotations (transfer_id, seq DESC)",
)

DOWN = ("DROP TABLE ledger_annotations",)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
