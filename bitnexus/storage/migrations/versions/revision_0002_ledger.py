"""The ledger: accounts, transfers, and the blocks of its log."""

from alembic import op

revision = "0002"
down_revision = "0001"

UP = (
    # Balances change with every block: no index holds them, and pages have room for the new versions (HOT updates).
    """
    CREATE TABLE ledger_accounts (
        id uuid PRIMARY KEY,
        owner_id uuid,
        asset text NOT NULL,
        code integer NOT NULL,
        flags integer NOT NULL,
        debits_posted bigint NOT NULL CHECK (debits_posted >= 0),
        credits_posted bigint NOT NULL CHECK (credits_posted >= 0),
        seq bigint NOT NULL,
        block bigint NOT NULL,
        time_us bigint NOT NULL,
        salt bytea NOT NULL,
        CONSTRAINT ledger_accounts_debits_must_not_exceed_credits
            CHECK (flags & 1 = 0 OR debits_posted <= credits_posted),
        CONSTRAINT ledger_accounts_credits_must_not_exceed_debits
            CHECK (flags & 2 = 0 OR credits_posted <= debits_posted)
    ) WITH (fillfactor = 70)
    """,
    "CREATE UNIQUE INDEX ledger_accounts_seq ON ledger_accounts (seq)",
    "CREATE INDEX ledger_accounts_owner ON ledger_accounts (owner_id, seq)",
    # A refused transfer whose id is burned is a row too. No foreign key: it may name an account that does not exist.
    """
    CREATE TABLE ledger_transfers (
        id uuid PRIMARY KEY,
        debit_account_id uuid NOT NULL,
        credit_account_id uuid NOT NULL,
        user_id uuid NOT NULL,
        amount bigint NOT NULL CHECK (amount > 0),
        seq bigint NOT NULL,
        block bigint NOT NULL,
        time_us bigint NOT NULL,
        debit_balance bigint NOT NULL,
        credit_balance bigint NOT NULL,
        code integer NOT NULL,
        asset text NOT NULL,
        description text NOT NULL,
        metadata text NOT NULL,
        refusal text,
        salt bytea NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX ledger_transfers_seq ON ledger_transfers (seq)",
    """
    CREATE INDEX ledger_transfers_debit ON ledger_transfers (debit_account_id, seq DESC) WHERE refusal IS NULL
    """,
    """
    CREATE INDEX ledger_transfers_credit ON ledger_transfers (credit_account_id, seq DESC) WHERE refusal IS NULL
    """,
    # The height is the fence: two writers cannot both write the same one.
    """
    CREATE TABLE ledger_blocks (
        height bigint PRIMARY KEY CHECK (height > 0),
        prev_hash bytea NOT NULL,
        hash bytea NOT NULL,
        tree_size bigint NOT NULL,
        tree_root bytea NOT NULL,
        peaks bytea NOT NULL,
        time_us bigint NOT NULL
    )
    """,
)

DOWN = (
    "DROP TABLE ledger_blocks",
    "DROP TABLE ledger_transfers",
    "DROP TABLE ledger_accounts",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
