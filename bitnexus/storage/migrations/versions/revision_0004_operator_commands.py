"""The operators' commands: who did what, from where, when, and what came of it."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # The operator need not be a user: whoever runs the command line on the node's host has no account.
    op.execute(
        """
        CREATE TABLE operator_commands (
            id uuid PRIMARY KEY,
            begun_us bigint NOT NULL,
            finished_us bigint,
            operator_id uuid NOT NULL,
            operator_role text NOT NULL,
            operator_name text NOT NULL,
            entrance text NOT NULL CHECK (entrance IN ('cli', 'http', 'message')),
            address text NOT NULL,
            verb text NOT NULL,
            path text NOT NULL,
            arguments jsonb NOT NULL,
            outcome text,
            detail text NOT NULL,
            steps jsonb NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX operator_commands_newest ON operator_commands (begun_us DESC, id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE operator_commands")
