"""Pending transfers, reversals, the states and credit limits of accounts, and the kept nodes of the log's tree."""

from alembic import op

revision = "0003"
down_revision = "0002"

UP = (
    # Defaults, so that no row is rewritten, and a block of plain transfers need not mention them.
    """
    ALTER TABLE ledger_accounts
        ADD COLUMN debits_pending bigint NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
        ADD COLUMN credits_pending bigint NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
        ADD COLUMN credit_limit bigint NOT NULL DEFAULT 0 CHECK (credit_limit >= 0),
        ADD COLUMN state integer NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
        DROP CONSTRAINT ledger_accounts_debits_must_not_exceed_credits,
        DROP CONSTRAINT ledger_accounts_credits_must_not_exceed_debits,
        ADD CONSTRAINT ledger_accounts_debits_must_not_exceed_credits
            CHECK (flags & 1 = 0 OR debits_posted + debits_pending - credits_posted <= credit_limit),
        ADD CONSTRAINT ledger_accounts_credits_must_not_exceed_debits
            CHECK (flags & 2 = 0 OR credits_posted + credits_pending - debits_posted <= credit_limit)
    """,
    """
    ALTER TABLE ledger_transfers
        ADD COLUMN kind smallint NOT NULL DEFAULT 1,
        ADD COLUMN pending_id uuid,
        ADD COLUMN reverses_id uuid,
        ADD COLUMN timeout_s integer NOT NULL DEFAULT 0
    """,
    # A pending transfer is resolved once, a transfer reversed once. Plain ones are not in the index.
    """
    CREATE UNIQUE INDEX ledger_transfers_refers_to ON ledger_transfers (coalesce(pending_id, reverses_id))
        WHERE refusal IS NULL AND coalesce(pending_id, reverses_id) IS NOT NULL
    """,
    """
    CREATE TABLE ledger_account_changes (
        seq bigint PRIMARY KEY,
        account_id uuid NOT NULL,
        action smallint NOT NULL,
        user_id uuid NOT NULL,
        block bigint NOT NULL,
        time_us bigint NOT NULL,
        salt bytea NOT NULL
    )
    """,
    # The pending transfers with a timeout that nothing has resolved: what a restarted ledger has to know.
    """
    CREATE TABLE ledger_timers (
        transfer_id uuid PRIMARY KEY,
        expires_us bigint NOT NULL
    )
    """,
    "CREATE INDEX ledger_timers_expires ON ledger_timers (expires_us)",
    """
    CREATE TABLE ledger_nodes (
        level smallint NOT NULL CHECK (level > 0),
        number bigint NOT NULL,
        hash bytea NOT NULL,
        PRIMARY KEY (level, number)
    )
    """,
)

DOWN = (
    "DROP TABLE ledger_nodes",
    "DROP TABLE ledger_timers",
    "DROP TABLE ledger_account_changes",
    "DROP INDEX ledger_transfers_refers_to",
    """
    ALTER TABLE ledger_transfers
        DROP COLUMN kind, DROP COLUMN pending_id, DROP COLUMN reverses_id, DROP COLUMN timeout_s
    """,
    """
    ALTER TABLE ledger_accounts
        DROP CONSTRAINT ledger_accounts_debits_must_not_exceed_credits,
        DROP CONSTRAINT ledger_accounts_credits_must_not_exceed_debits,
        DROP COLUMN debits_pending, DROP COLUMN credits_pending, DROP COLUMN credit_limit, DROP COLUMN state,
        ADD CONSTRAINT ledger_accounts_debits_must_not_exceed_credits
            CHECK (flags & 1 = 0 OR debits_posted <= credits_posted),
        ADD CONSTRAINT ledger_accounts_credits_must_not_exceed_debits
            CHECK (flags & 2 = 0 OR credits_posted <= debits_posted)
    """,
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
