"""``bitnexus partitions``: how many processes share the users' actors, and another number of them while they work."""

from __future__ import annotations

from typing import Final

import click

from bitnexus.cli._operator import Connected, json_option, print_json, run

#: What an answer may take to come back beyond the command's own time.
_GRACE_S: Final = 5.0
PATH: Final = "bitnexus/transactions"


@click.command("partitions")
@click.argument("count", type=click.IntRange(1, 256), required=False, metavar="[N]")
@click.option("--dry-run", is_flag=True, help="Only show the steps, and how many users would move.")
@click.option(
    "--within",
    "within_s",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, 600, min_open=True),
    help="How long to wait for it; it goes on in any case.",
)
@json_option
def command(*, count: int | None, dry_run: bool, within_s: float, as_json: bool) -> None:
    """Show how many partitions there are, or have N of them from now on.

    Users move between partitions while transfers go on: none fails, a few wait some milliseconds longer. It lasts until
    the partitions' supervisor is restarted; BITNEXUS_PARTITIONS is the number it begins with.
    """
    if count is None:
        _show(as_json=as_json)
    else:
        _change(count, dry_run=dry_run, within_s=within_s, as_json=as_json)


def _show(*, as_json: bool) -> None:
    from bitnexus.actors.operator_messages import ShowState, StateShown

    async def work(node: Connected) -> StateShown:
        return await node.ask(ShowState(node.operator, PATH), StateShown, retry=True)

    shown = run(work)
    if as_json:
        print_json(shown)
    else:
        click.echo(_number_of(int(shown.fields["partitions"] or 0)))


def _change(count: int, *, dry_run: bool, within_s: float, as_json: bool) -> None:
    from bitnexus.actors.operator_messages import ChangePartitions, PartitionsChanged
    from bitnexus.cli._shown import console, steps_table
    from bitnexus.supervision.slots import SLOTS

    async def work(node: Connected) -> PartitionsChanged:
        message = ChangePartitions(node.operator, PATH, count, dry_run=dry_run, within_s=within_s)
        return await node.ask(message, PartitionsChanged, timeout_s=within_s + _GRACE_S)

    done = run(work)
    if as_json:
        print_json(done)
    elif done.before == done.count:
        click.echo(f"There are {_number_of(done.count)} already.")
    else:
        console().print(steps_table(done.steps))
        share = f"{done.slots / SLOTS:.0%} of the users"
        what = f"{share} would move." if dry_run else f"{share} moved, in {done.seconds:.2f} s."
        click.echo(f"{_number_of(done.count)} instead of {done.before}: {what}")


def _number_of(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"
