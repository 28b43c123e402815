"""Users: who may log in, and as what."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE users (
            id uuid PRIMARY KEY,
            email text NOT NULL CHECK (length(email) BETWEEN 3 AND 320),
            name text NOT NULL CHECK (length(name) <= 200),
            password_hash text NOT NULL,
            role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'service', 'admin')),
            inserted_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX users_email_key ON users (lower(email))")


def downgrade() -> None:
    op.execute("DROP TABLE users")
