"""``bitnexus db``: create, migrate, roll back and look at the database, and say that it was put back.

Every command may be repeated: what is done already is said and is no failure. Exit codes as everywhere; besides,
``bitnexus db status`` ends with 3 while migrations are pending.
"""

from __future__ import annotations

import asyncio

import click

from bitnexus.cli._database import database_url

EXIT_PENDING = 3


@click.group("db")
def command() -> None:
    """Create, migrate, roll back and look at the database."""


@command.command()
def create() -> None:
    """Create the database, empty."""
    from bitnexus.storage import schema

    with database_url() as url:
        created = asyncio.run(schema.create(url))
    click.echo("The database was created." if created else "The database is there already.")


@command.command()
@click.option("--to", default="head", metavar="REVISION", help="The revision to stop at; else the newest.")
def migrate(to: str) -> None:
    """Bring the schema up to date, in one transaction."""
    from bitnexus.storage import schema

    with database_url() as url:
        applied = asyncio.run(schema.migrate(url, to))
    click.echo(f"Applied {', '.join(applied)}." if applied else "The schema is up to date already.")


@command.command()
@click.option("--steps", default=1, show_default=True, type=click.IntRange(min=1), help="How many revisions to undo.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rollback(*, steps: int, yes: bool) -> None:
    """Undo the newest revisions, WITH the data in what they had added."""
    from bitnexus.storage import schema

    if not yes:
        click.confirm("Rolling back deletes the tables of the revisions undone. Go on?", abort=True, err=True)
    with database_url() as url:
        undone = asyncio.run(schema.rollback(url, steps))
    click.echo(f"Undone {', '.join(undone)}." if undone else "There is nothing to roll back.")


@command.command("new-epoch")
def new_epoch() -> None:
    """Have clients that resume load anew: after a copy of the database's files was put back.

    Of every other way to restore a database the service takes notice by itself.
    """
    from bitnexus.storage import ledger_topics
    from bitnexus.storage.database import Database, migrated

    async def begin(url: str) -> None:
        database = await Database.connect(url, pool_size=1, process="db")
        try:
            async with database.connection() as connection:
                with migrated():
                    await ledger_topics.begin_epoch(connection)
        finally:
            await database.close()

    with database_url() as url:
        asyncio.run(begin(url))
    click.echo("A new epoch has begun. Fronts that run take notice when they are started anew.")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(context: click.Context, *, as_json: bool) -> None:
    """Show the schema's revision and what is pending; exit code 3 while something is."""
    import orjson

    from bitnexus.storage import schema

    with database_url() as url:
        found = asyncio.run(schema.status(url))
    if as_json:
        shown = {"current": found.current, "head": found.head, "pending": list(found.pending)}
        click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(f"current  {found.current or '(empty)'}")
        click.echo(f"head     {found.head}")
        click.echo(f"pending  {', '.join(found.pending) or '(none)'}")
    if not found.is_current:
        context.exit(EXIT_PENDING)
