"""Webhooks: who is told of the log's events, how far each has come, and what could not be delivered."""

from alembic import op

revision = "0010"
down_revision = "0009"

UP = (
    # `position`: every event up to there was delivered, passed over, or is a dead letter. The event itself stays in
    # the log alone. `salt` is no secret: see webhooks/signing.py.
    """
    CREATE TABLE webhook_endpoints (
        id uuid PRIMARY KEY,
        ordinal bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        owner_id uuid NOT NULL REFERENCES users (id),
        url text NOT NULL,
        description text NOT NULL DEFAULT '',
        events text[] NOT NULL DEFAULT '{}',
        is_active boolean NOT NULL DEFAULT true,
        disabled_because text NOT NULL DEFAULT '',
        salt bytea NOT NULL CHECK (length(salt) = 32),
        previous_salt bytea,
        previous_until timestamptz,
        position bigint NOT NULL,
        attempts integer NOT NULL DEFAULT 0,
        unavailable_since timestamptz,
        last_error text NOT NULL DEFAULT '',
        delivered_at timestamptz,
        version bigint NOT NULL DEFAULT 1,
        inserted_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX webhook_endpoints_of ON webhook_endpoints (owner_id)",
    """
    CREATE TABLE webhook_dead_letters (
        endpoint_id uuid NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
        seq bigint NOT NULL,
        type text NOT NULL,
        attempts integer NOT NULL,
        error text NOT NULL,
        died_at timestamptz NOT NULL DEFAULT now(),
        replay boolean NOT NULL DEFAULT false,
        PRIMARY KEY (endpoint_id, seq)
    )
    """,
    "CREATE INDEX webhook_replays ON webhook_dead_letters (endpoint_id, seq) WHERE replay",
)

DOWN = ("DROP TABLE webhook_dead_letters", "DROP TABLE webhook_endpoints")


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
