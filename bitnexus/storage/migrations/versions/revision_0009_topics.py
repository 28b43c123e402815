"""Topics that can be resumed: what their events are counted by, and the read marks of notifications."""

from alembic import op

revision = "0009"
down_revision = "0008"

UP = (
    # Transfers that say something of another one as well: they count twice among a user's events. Plain transfers are
    # in neither index.
    """
    CREATE INDEX ledger_transfers_debit_resolving ON ledger_transfers (debit_account_id, seq DESC) INCLUDE (kind)
        WHERE refusal IS NULL AND kind > 2
    """,
    """
    CREATE INDEX ledger_transfers_credit_resolving ON ledger_transfers (credit_account_id, seq DESC)
        WHERE refusal IS NULL AND kind > 2
    """,
    "CREATE INDEX ledger_account_changes_of_account ON ledger_account_changes (account_id, seq DESC)",
    # The accounts that annotations concern. An index over two tables: it follows from them, and a trigger keeps it, so
    # that the ledger need not; it fires for annotations alone.
    """
    CREATE TABLE ledger_annotated_accounts (
        account_id uuid NOT NULL,
        seq bigint NOT NULL,
        PRIMARY KEY (account_id, seq)
    )
    """,
    """
    CREATE FUNCTION ledger_note_annotated_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO ledger_annotated_accounts (account_id, seq)
        SELECT party.id, NEW.seq
        FROM ledger_transfers t, LATERAL unnest(ARRAY[t.debit_account_id, t.credit_account_id]) AS party (id)
        WHERE t.id = NEW.transfer_id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER ledger_annotated_accounts AFTER INSERT ON ledger_annotations
        FOR EACH ROW EXECUTE FUNCTION ledger_note_annotated_accounts()
    """,
    """
    INSERT INTO ledger_annotated_accounts (account_id, seq)
    SELECT party.id, n.seq
    FROM ledger_annotations n JOIN ledger_transfers t ON t.id = n.transfer_id,
        LATERAL unnest(ARRAY[t.debit_account_id, t.credit_account_id]) AS party (id)
    """,
    # How many events of a user's topic there were up to a position of the log: counting goes on from there. What is
    # lost of this is counted again.
    """
    CREATE TABLE topic_counts (
        user_id uuid NOT NULL,
        family text NOT NULL,
        position bigint NOT NULL,
        events bigint NOT NULL,
        PRIMARY KEY (user_id, family)
    )
    """,
    # Whoever puts a copy of the database's files back says so here: see `bitnexus db new-epoch`.
    """
    CREATE TABLE log_epochs (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id uuid NOT NULL DEFAULT gen_random_uuid(),
        begun_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE notification_reads (
        user_id uuid PRIMARY KEY,
        epoch text NOT NULL,
        read_up_to bigint NOT NULL CHECK (read_up_to >= 0),
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)

DOWN = (
    "DROP TABLE notification_reads",
    "DROP TABLE log_epochs",
    "DROP TABLE topic_counts",
    "DROP TRIGGER ledger_annotated_accounts ON ledger_annotations",
    "DROP FUNCTION ledger_note_annotated_accounts()",
    "DROP TABLE ledger_annotated_accounts",
    "DROP INDEX ledger_account_changes_of_account",
    "DROP INDEX ledger_transfers_credit_resolving",
    "DROP INDEX ledger_transfers_debit_resolving",
)


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
