"""``bitnexus serve``: the whole service, from its database to its port."""

from __future__ import annotations

import click


@click.command("serve")
def command() -> None:
    """Start PostgreSQL (unless DATABASE_URL names one) and the whole tree; serve until SIGTERM or Ctrl-C.

    Exit codes: 0 stopped in order, 1 could not start or gave up, 2 wrong usage.
    """
    from bitnexus.heart import Heart

    Heart(announce=click.echo).run()
