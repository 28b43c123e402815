"""``bitnexus ledger trial-balance`` and ``blocks``: the books as they are stored."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from bitnexus.cli._database import at_one_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bitnexus.actors.ledger.moments import Moment
    from bitnexus.storage.ledger_accounting import TrialBalance
    from bitnexus.storage.ledger_rows import BlockRow

MOST_BLOCKS = 1_000
_HASH_SHOWN = 16


def _moment_of(_: click.Context, __: click.Parameter, value: str | None) -> Moment | None:
    from bitnexus.actors.ledger.moments import moment

    try:
        return None if value is None else moment(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("trial-balance")
@click.option(
    "--at",
    metavar="SEQ|TIME",
    callback=_moment_of,
    help="After this event, or at this time (2025-01-31T23:59:59Z), not now.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as when the output is not a terminal.")
@click.pass_context
def trial_balance(context: click.Context, *, at: Moment | None, as_json: bool) -> None:
    """Sum up debits and credits of every asset, in minor units; exit code 1 if they differ."""
    import json

    from bitnexus.actors import representation
    from bitnexus.storage import ledger, ledger_accounting

    async def run(db: Any) -> TrialBalance:  # noqa: ANN401 - asyncpg has no types
        if at is None:
            return await ledger_accounting.trial_balance(db)
        newest = await ledger.last_seq(db)
        if at.seq is not None and at.seq > newest:
            raise click.BadParameter(f"must not exceed the newest event, {newest}", param_hint="--at")
        seq = await ledger_accounting.seq_at(db, at.time_us) if at.seq is None else at.seq
        return await ledger_accounting.trial_balance(db, at_seq=seq)

    found = at_one_moment(run)
    lines = [representation.asset_totals(each) for each in found.assets]
    if as_json or not sys.stdout.isatty():
        shown = {"as_of_seq": found.as_of_seq, "balanced": not found.unbalanced, "assets": lines}
        # The standard encoder: sums of many accounts may exceed 64 bits.
        click.echo(json.dumps(shown, indent=2))
    else:
        _print_table(f"Trial balance as of event {found.as_of_seq}", lines)
    if found.unbalanced:
        click.echo(f"{found.unbalanced} assets are not in balance: run `bitnexus ledger verify`.", err=True)
        context.exit(1)


@click.command("blocks")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, MOST_BLOCKS), help="How many.")
@click.option("--before", type=click.IntRange(1), help="Those below this height only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as when the output is not a terminal.")
def blocks(*, limit: int, before: int | None, as_json: bool) -> None:
    """List the ledger's blocks, newest first, with their hashes and the tree after each."""
    import orjson

    from bitnexus.actors import representation
    from bitnexus.storage import ledger

    async def run(db: Any) -> list[BlockRow]:  # noqa: ANN401 - asyncpg has no types
        # One more: each tells where it begins by the one before it.
        return await ledger.blocks_before(db, ledger.END if before is None else before, limit=limit + 1)

    found = at_one_moment(run)
    sizes = [block.tree_size for block in found[1:]] + [0]
    lines = [representation.block(block, size) for block, size in zip(found[:limit], sizes, strict=False)]
    if as_json or not sys.stdout.isatty():
        click.echo(orjson.dumps(lines, option=orjson.OPT_INDENT_2).decode())
        return
    short = {"hash", "prev_hash", "tree_root"}
    _print_table(
        "Blocks; --json shows whole hashes",
        [{key: value[:_HASH_SHOWN] if key in short else value for key, value in line.items()} for line in lines],
    )


def _print_table(title: str, lines: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for name, value in (lines[0] if lines else {}).items():
        table.add_column(name.replace("_", " "), justify="right" if isinstance(value, int) else "left")
    for line in lines:
        # Text, not str: a value is shown as it is, not read as rich's markup.
        table.add_row(*(Text(str(value)) for value in line.values()))
    Console().print(table)
