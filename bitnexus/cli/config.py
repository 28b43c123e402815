"""``bitnexus config``: the settings as they are in effect, secrets masked."""

from __future__ import annotations

import dataclasses
import sys

import click
import orjson

from bitnexus.config import get_settings


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as when the output is not a terminal.")
def command(*, as_json: bool) -> None:
    """Print the effective settings, with secrets masked."""
    settings = get_settings().effective()
    if as_json or not sys.stdout.isatty():
        rows = {setting.name: dataclasses.asdict(setting) for setting in settings}
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"BitNexus settings · profile {settings[0].value}", title_justify="left")
    table.add_column("Variable", no_wrap=True)
    table.add_column("Value", overflow="fold")
    table.add_column("From")
    table.add_column("Description")
    for setting in settings:
        # Text, not str: a value is shown as it is, not read as rich's markup.
        value = Text("–" if setting.value is None else str(setting.value), style="bold" if setting.given else "")
        table.add_row(setting.variable, value, "set" if setting.given else "default", setting.description)
    Console().print(table)
