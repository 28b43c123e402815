"""``bitnexus history [PATH]``: how processes and light actors ended."""

from __future__ import annotations

import click

from bitnexus.cli._operator import Connected, json_option, optional_path_argument, print_json, run


@click.command("history")
@optional_path_argument
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="How many.")
@json_option
def command(*, path: str, limit: int, as_json: bool) -> None:
    """Show the last ends of the processes at PATH, or of a light actor: when, why, after how long. Newest first."""
    from bitnexus.actors.operator_messages import HistoryShown, ShowHistory
    from bitnexus.cli._shown import console, history_table

    async def work(node: Connected) -> HistoryShown:
        return await node.ask(ShowHistory(node.operator, path, limit), HistoryShown, retry=True)

    shown = run(work)
    if as_json:
        print_json(shown.exits)
    elif shown.exits:
        console().print(history_table(shown))
    else:
        click.echo("Nothing has ended.")
