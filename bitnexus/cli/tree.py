"""``bitnexus tree [PATH]``: the supervision tree of the running node."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from bitnexus.cli._operator import Connected, json_option, optional_path_argument, print_json, run
from bitnexus.errors import RuntimeFault

if TYPE_CHECKING:
    from bitnexus.actors.operator_messages import ShowTree


@click.command("tree")
@optional_path_argument
@click.option("--watch", is_flag=True, help="Follow it until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.1, 3600),
    help="How often to look, with --watch.",
)
@click.option(
    "--actors", default=20, show_default=True, type=click.IntRange(0, 500), help="Light actors of a process to show."
)
@json_option
def command(*, path: str, watch: bool, every_s: float, actors: int, as_json: bool) -> None:
    """Show the tree, or the subtree at PATH, and of a process its light actors."""
    from bitnexus.actors.operator_messages import ShowTree, TreeShown
    from bitnexus.cli._shown import console, tree_table

    async def work(node: Connected) -> None:
        asked = ShowTree(node.operator, path, actors)
        if watch:
            await _follow(node, asked, every_s, as_json=as_json)
            return
        shown = await node.ask(asked, TreeShown, retry=True)
        if as_json:
            print_json(shown.rows)
        else:
            console().print(tree_table(shown))

    run(work, lasting=watch)


async def _follow(node: Connected, asked: ShowTree, every_s: float, *, as_json: bool) -> None:
    from rich.live import Live
    from rich.text import Text

    from bitnexus.actors.operator_messages import TreeShown
    from bitnexus.cli._shown import console, tree_table

    page = console()
    if as_json or not sys.stdout.isatty():
        while True:
            shown = await node.ask(asked, TreeShown, retry=True)
            if as_json:
                print_json(shown.rows)
            else:
                page.print(tree_table(shown))
            sys.stdout.flush()
            await asyncio.sleep(every_s)
    with Live(console=page, screen=True, auto_refresh=False) as live:
        while True:
            try:
                live.update(tree_table(await node.ask(asked, TreeShown, retry=True)), refresh=True)
            except RuntimeFault as error:  # the node restarts, say: go on looking
                live.update(Text(error.detail, style="yellow"), refresh=True)
            await asyncio.sleep(every_s)
