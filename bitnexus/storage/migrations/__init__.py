"""The database's schema, one revision after another; applied by `bitnexus.storage.schema`.

A revision is plain SQL for PostgreSQL 14 and later, up and down, in ``versions/revision_NNNN_<what>.py`` with the
identifiers ``revision = "NNNN"`` and ``down_revision = "<the one before>"``.
"""
