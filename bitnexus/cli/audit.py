"""``bitnexus audit``: what operators did."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from bitnexus.cli._database import database_url
from bitnexus.cli._operator import json_option, print_json


@click.command("audit")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@json_option
def command(*, limit: int, as_json: bool) -> None:
    """Show the operators' last commands: when, who, from where, what, and what came of it. Newest first."""
    from rich.table import Table
    from rich.text import Text

    from bitnexus.cli._shown import console, moment
    from bitnexus.storage import operator_commands, schema
    from bitnexus.storage.database import Database
    from bitnexus.storage.operator_commands import CommandRow

    async def read(url: str) -> list[CommandRow]:
        if not (await schema.status(url)).is_current:
            raise click.ClickException("The schema is not up to date: run `bitnexus db migrate` first.")
        database = await Database.connect(url, pool_size=1, process="audit")
        try:
            async with database.connection() as connection:
                return await operator_commands.newest(connection, limit=limit)
        finally:
            await database.close()

    with database_url() as url:
        found = asyncio.run(read(url))
    if as_json:
        print_json([asdict(row) for row in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in ("when", "who", "from", "command", "outcome"):
        table.add_column(column, no_wrap=column == "when")
    for row in found:
        who = row.operator_name or row.operator_id
        outcome = Text(row.outcome or "unknown", style="" if row.outcome == "done" else "yellow")
        if row.detail:
            outcome.append(f": {row.detail}", style="dim")
        place = f"{row.entrance} {row.address}".strip()
        table.add_row(moment(row.begun_us), Text(who), Text(place), Text(f"{row.verb} {row.path}".strip()), outcome)
    console().print(table)
