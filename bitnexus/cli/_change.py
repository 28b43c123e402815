"""The operators' commands that change the tree: all alike but for their verb.

On a terminal the steps are shown and the operator is asked; where nobody can be asked, ``--yes`` must say it. Exit
codes: 0 done, or nothing to do; 1 refused, failed or not finished in time; 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from bitnexus.cli._operator import Connected, json_option, path_argument, print_json, run

if TYPE_CHECKING:
    from bitnexus.actors.operator_messages import TreeChanged

#: What takes something away from somebody.
DESTRUCTIVE: Final = frozenset({"restart", "stop", "kill", "drain", "suspend"})
#: What an answer may take to come back beyond the command's own time.
_GRACE_S: Final = 5.0


def change_command(verb: str, explanation: str) -> click.Command:
    """The command ``bitnexus VERB PATH``."""

    @click.command(verb, help=explanation)
    @path_argument
    @click.option("--dry-run", is_flag=True, help="Only show the steps.")
    @click.option("--yes", is_flag=True, help="Do not ask.", hidden=verb not in DESTRUCTIVE)
    @click.option(
        "--within",
        "within_s",
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        type=click.FloatRange(0, 600, min_open=True),
        help="How long to wait for it.",
    )
    @json_option
    def command(*, path: str, dry_run: bool, yes: bool, within_s: float, as_json: bool) -> None:
        asks = verb in DESTRUCTIVE and not (yes or dry_run)
        if asks and not sys.stdin.isatty():
            raise click.UsageError(f"Nobody can be asked here: give --yes to {verb} {path}, or --dry-run.")
        run_change(verb, path, dry_run=dry_run, asks=asks, within_s=within_s, as_json=as_json)

    return command


def run_change(verb: str, path: str, *, dry_run: bool, asks: bool, within_s: float, as_json: bool) -> None:
    """Ask, do it, show it. Raises Exit with 1 if it was not done."""
    from bitnexus.actors.operator_messages import ChangeTree, TreeChanged

    def give(*, dry: bool) -> TreeChanged:
        async def work(node: Connected) -> TreeChanged:
            message = ChangeTree(node.operator, path, verb, dry_run=dry, within_s=within_s)
            return await node.ask(message, TreeChanged, timeout_s=within_s + _GRACE_S, retry=dry)

        return run(work)

    if asks:
        would = give(dry=True)
        _show(would, err=True)
        if would.outcome != "nothing":
            click.confirm(f"{verb.capitalize()} {path}?", abort=True, err=True)
    changed = give(dry=dry_run)
    if as_json:
        print_json(changed)
    elif asks:
        _conclude(changed)
    else:
        _show(changed)
        _conclude(changed)
    if changed.outcome in ("failed", "unfinished"):
        raise click.exceptions.Exit(1)


def _show(changed: TreeChanged, *, err: bool = False) -> None:
    from bitnexus.cli._shown import console, steps_table

    page = console(err=err)
    if changed.steps:
        page.print(steps_table(changed.steps))
    for warning in changed.warnings:
        page.print(f"[yellow]note:[/yellow] {warning}")


def _conclude(changed: TreeChanged) -> None:
    said = {
        "done": "Done.",
        "nothing": "There is nothing to do.",
        "would": "Nothing was done: this was a dry run.",
        "begun": "Begun: it ends who would have told of it. Look at `bitnexus tree`.",
        "unfinished": f"Not finished in time: {changed.detail}",
        "failed": f"Failed: {changed.detail}",
    }
    click.echo(said.get(changed.outcome, changed.outcome), err=changed.outcome in ("failed", "unfinished"))
