"""Run by Alembic: applies revisions on the connection that `bitnexus.storage.schema` opened and locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
context.run_migrations()
