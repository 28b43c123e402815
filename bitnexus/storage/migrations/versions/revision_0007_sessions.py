"""Sessions: who is logged in, and by which refresh token; users that change and are deleted."""

from alembic import op

revision = "0007"
down_revision = "0006"

UP = (
    # A row is of use until `expires_at`: a session's until its refresh token ends, a revoked one's until the last of
    # its access tokens has.
    """
    CREATE TABLE sessions (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        refresh_hash bytea NOT NULL CHECK (length(refresh_hash) = 32),
        inserted_at timestamptz NOT NULL DEFAULT now(),
        refreshed_at timestamptz NOT NULL DEFAULT now(),
        access_until timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz
    )
    """,
    "CREATE INDEX sessions_of_user ON sessions (user_id, refreshed_at DESC)",
    "CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX sessions_ended ON sessions (expires_at)",
    # A deleted user stays: the ledger has accounts of that id. The email is free again.
    """
    ALTER TABLE users
        ADD COLUMN ordinal bigint GENERATED ALWAYS AS IDENTITY,
        ADD COLUMN version bigint NOT NULL DEFAULT 1,
        ADD COLUMN deleted_at timestamptz
    """,
    "DROP INDEX users_email_key",
    "CREATE UNIQUE INDEX users_email_key ON users (lower(email)) WHERE deleted_at IS NULL",
    "CREATE UNIQUE INDEX users_listed ON users (ordinal) WHERE deleted_at IS NULL",
    "CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL",
)

DOWN = (
    "DROP TABLE sessions",
    # Their emails may be somebody else's by now, and nobody may log in by them.
    "UPDATE users SET email = id || '@deleted.invalid', password_hash = '!' WHERE deleted_at IS NOT NULL",
    "DROP INDEX users_email_key, users_listed, users_deleted",
    "CREATE UNIQUE INDEX users_email_key ON users (lower(email))",
    "ALTER TABLE users DROP COLUMN ordinal, DROP COLUMN version, DROP COLUMN deleted_at",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
