"""The migrator does the schema's work without burdening the process that asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bitnexus.errors import DatabaseUnavailable
from bitnexus.storage import migrator
from bitnexus.storage.embedded import EmbeddedPostgres
from bitnexus.storage.schema_status import SchemaError


def test_a_database_is_created_and_brought_up_to_date(postgres: EmbeddedPostgres) -> None:
    url = postgres.url_of("by_migrator")
    with pytest.raises(SchemaError, match="bitnexus db create"):
        migrator.status(url)
    assert (migrator.create(url), migrator.create(url)) == (True, False)
    before = migrator.status(url)
    assert (before.current, before.is_current) == (None, False)
    assert migrator.migrate(url) == before.pending
    assert migrator.migrate(url) == ()
    assert migrator.status(url).is_current


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        migrator.migrate(f"postgresql://bitnexus@/bitnexus?host={tmp_path}")


def test_an_address_that_makes_no_sense_is_a_clear_failure() -> None:
    with pytest.raises(SchemaError, match="failed"):
        migrator.migrate("postgresql://bitnexus@127.0.0.1:nonsense/bitnexus")


def test_neither_the_migrator_nor_the_server_nor_the_pool_loads_sqlalchemy() -> None:
    modules = "bitnexus.storage.migrator, bitnexus.storage.embedded, bitnexus.storage.database, bitnexus.storage.users"
    code = f"import sys, {modules}; sys.exit('sqlalchemy' in sys.modules or 'alembic' in sys.modules)"
    root = str(Path(__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=30, check=False).returncode == 0
