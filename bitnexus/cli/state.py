"""``bitnexus state PATH``: a summary of what a process or a light actor knows."""

from __future__ import annotations

import click

from bitnexus.cli._operator import Connected, json_option, path_argument, print_json, run


@click.command("state")
@path_argument
@json_option
def command(*, path: str, as_json: bool) -> None:
    """Show a summary of the state of the process or light actor at PATH; never a secret."""
    from bitnexus.actors.operator_messages import ShowState, StateShown
    from bitnexus.cli._shown import console, state_table

    async def work(node: Connected) -> StateShown:
        return await node.ask(ShowState(node.operator, path), StateShown, retry=True)

    shown = run(work)
    if as_json:
        print_json(shown)
    else:
        console().print(state_table(shown))
