"""``bitnexus trace PATH``: the next messages that a process or a light actor receives."""

from __future__ import annotations

import click

from bitnexus.cli._operator import ANSWER_S, Connected, json_option, path_argument, print_json, run


@click.command("trace")
@path_argument
@click.option("--count", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many messages.")
@click.option(
    "--for",
    "for_s",
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, 60, min_open=True),
    help="How long to wait for them.",
)
@json_option
def command(*, path: str, count: int, for_s: float, as_json: bool) -> None:
    """Show type, sender and size of the next messages to PATH; never what is in them."""
    from bitnexus.actors.operator_messages import MessagesTraced, TraceMessages
    from bitnexus.cli._shown import console, trace_table

    async def work(node: Connected) -> MessagesTraced:
        asked = TraceMessages(node.operator, path, count, for_s)
        return await node.ask(asked, MessagesTraced, timeout_s=for_s + ANSWER_S)

    shown = run(work)
    if as_json:
        print_json(shown.messages)
    elif shown.messages:
        console().print(trace_table(shown))
    else:
        click.echo(f"Nothing came in {for_s:g} s.")
