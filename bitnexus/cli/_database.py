"""The database that a command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from bitnexus.config import get_settings
from bitnexus.storage.embedded import EmbeddedServerError, borrow


@contextmanager
def database_url() -> Iterator[str]:
    """DATABASE_URL; without it the embedded server's, which is started for this block unless it runs already."""
    settings = get_settings()
    if settings.database_url is not None:
        yield settings.database_url
        return
    try:
        with borrow(settings.data_dir) as url:
            yield url
    except EmbeddedServerError as error:
        # Shown line by line: it may hold the end of the server's log.
        raise click.ClickException(error.detail) from error
