"""``bitnexus top [PATH]``: the busiest processes, or light actors of one."""

from __future__ import annotations

import click

from bitnexus.cli._operator import ANSWER_S, Connected, json_option, optional_path_argument, print_json, run


@click.command("top")
@optional_path_argument
@click.option(
    "--sort", default="cpu", show_default=True, type=click.Choice(["cpu", "memory", "mailbox"]), help="By what."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="How many.")
@click.option(
    "--for",
    "for_s",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.05, 10),
    help="How long to look.",
)
@json_option
def command(*, path: str, sort: str, limit: int, for_s: float, as_json: bool) -> None:
    """Show the processes of the node or of PATH that use most; of a process with light actors, those that work most."""
    from bitnexus.actors.operator_messages import ShowTop, TreeShown
    from bitnexus.cli._shown import console, top_table

    async def work(node: Connected) -> TreeShown:
        asked = ShowTop(node.operator, path, sort, limit, for_s)
        return await node.ask(asked, TreeShown, timeout_s=for_s + ANSWER_S, retry=True)

    shown = run(work)
    if as_json:
        print_json(shown.rows)
    else:
        console().print(top_table(shown))
