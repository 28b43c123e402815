"""``bitnexus webhooks``: who is told of what is recorded, what could not be delivered, and to send that once more.

Works on the database; a running service notices within two seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click
from rich.table import Table
from rich.text import Text

from bitnexus.cli._database import database_url
from bitnexus.cli._operator import on_this_host
from bitnexus.cli._shown import console, moment

if TYPE_CHECKING:
    from bitnexus.operations.recorded import Outcome
    from bitnexus.storage.webhooks import DeadLetter, Endpoint

Found = TypeVar("Found")

endpoint_argument = click.argument("endpoint", type=click.UUID)
seqs_argument = click.argument("seqs", nargs=-1, type=click.IntRange(min=0))
all_option = click.option("--all", "every", is_flag=True, help="All of the endpoint's.")


@click.group("webhooks")
def command() -> None:
    """Look after webhooks."""


@command.command("list")
def list_() -> None:
    """List the endpoints, how far each has come, and what is wrong."""
    from bitnexus.storage import ledger, webhooks

    async def look(db: Any) -> tuple[int, list[Endpoint]]:  # noqa: ANN401 - a connection
        return await ledger.last_seq(db), await webhooks.endpoints(db)

    head, found = _on_database(look)
    table = _table("id", "url", "events", "state", "behind", "dead", "last error")
    for each in found:
        state = "active" if each.is_active else "disabled"
        why = each.disabled_because or each.last_error
        events = " ".join(each.events) or "all"
        table.add_row(each.id, Text(each.url), events, state, str(head - each.position), str(each.dead), Text(why))
    console().print(table)


@command.command()
@click.option("--endpoint", type=click.UUID, help="Of this endpoint alone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
def dead(*, endpoint: UUID | None, limit: int) -> None:
    """List dead letters: events that were given up. The newest events come first."""
    from bitnexus.storage import webhooks

    async def look(db: Any) -> list[DeadLetter]:  # noqa: ANN401 - a connection
        return await webhooks.dead_letters(db, None if endpoint is None else str(endpoint), limit=limit)

    table = _table("endpoint", "seq", "type", "attempts", "died", "replay", "error")
    for each in _on_database(look):
        replay = "waits" if each.replay else ""
        died = moment(each.died_at_us)
        table.add_row(each.endpoint_id, str(each.seq), each.type, str(each.attempts), died, replay, Text(each.error))
    console().print(table)


@command.command()
@endpoint_argument
@seqs_argument
@all_option
def replay(*, endpoint: UUID, seqs: tuple[int, ...], every: bool) -> None:
    """Send dead letters of an endpoint once more: those of these positions, or all."""
    from bitnexus.storage import webhooks

    wanted = _wanted(seqs, every=every)
    count = _letters(endpoint, "replay", wanted, webhooks.replay)
    click.echo(f"{count} dead letters are to be sent once more.")


@command.command()
@endpoint_argument
@seqs_argument
@all_option
def discard(*, endpoint: UUID, seqs: tuple[int, ...], every: bool) -> None:
    """Forget dead letters of an endpoint. Their events stay in the log."""
    from bitnexus.storage import webhooks

    wanted = _wanted(seqs, every=every)
    count = _letters(endpoint, "discard", wanted, webhooks.discard)
    click.echo(f"{count} dead letters were forgotten.")


@command.command()
@endpoint_argument
def enable(*, endpoint: UUID) -> None:
    """Deliver again, from where the endpoint was disabled."""
    _set(endpoint, is_active=True)


@command.command()
@endpoint_argument
def disable(*, endpoint: UUID) -> None:
    """Deliver nothing more; the position stays."""
    _set(endpoint, is_active=False)


def _set(endpoint: UUID, *, is_active: bool) -> None:
    from bitnexus.errors import NotFound
    from bitnexus.storage import webhooks

    async def change(db: Any, _: Outcome) -> None:  # noqa: ANN401 - a connection
        if not await webhooks.update(db, str(endpoint), versions=None, is_active=is_active):
            raise NotFound("There is no such endpoint")

    try:
        _changed(endpoint, "enable" if is_active else "disable", {}, change)
    except NotFound as error:
        raise click.ClickException(f"{error.detail}.") from error
    click.echo(f"The endpoint is {'active' if is_active else 'disabled'}.")


def _letters(endpoint: UUID, verb: str, seqs: list[int] | None, change: Callable[..., Awaitable[int]]) -> int:
    """How many dead letters were changed."""

    async def run(db: Any, outcome: Outcome) -> int:  # noqa: ANN401 - a connection
        count = await change(db, str(endpoint), seqs)
        outcome.word, outcome.detail = "done" if count else "nothing", f"{count} dead letters"
        return count

    return _changed(endpoint, verb, {"seqs": seqs}, run)


def _changed(
    endpoint: UUID, verb: str, arguments: dict[str, Any], change: Callable[[Any, Outcome], Awaitable[Found]]
) -> Found:
    """Change the endpoint, and have it in the operators' audit."""
    from bitnexus.operations.recorded import recorded
    from bitnexus.operations.records import begun_at

    row = begun_at(f"webhooks/{endpoint}", verb, on_this_host(), arguments)

    async def run(db: Any) -> Found:  # noqa: ANN401 - a connection
        async with recorded(db, row) as outcome:
            return await change(db, outcome)

    return _on_database(run)


def _wanted(seqs: tuple[int, ...], *, every: bool) -> list[int] | None:
    if bool(seqs) == every:
        raise click.UsageError("Name the positions of the events, or --all.")
    return None if every else list(seqs)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for column in columns:
        numbers = column in ("seq", "attempts", "behind", "dead")
        table.add_column(column, justify="right" if numbers else "left", no_wrap=column in ("id", "endpoint", "died"))
    return table


def _on_database(run: Callable[[Any], Awaitable[Found]]) -> Found:
    from bitnexus.storage.database import Database, migrated

    async def connected(url: str) -> Found:
        database = await Database.connect(url, pool_size=1, process="webhooks-command")
        try:
            async with database.connection() as connection:
                with migrated():
                    return await run(connection)
        finally:
            await database.close()

    with database_url() as url:
        return asyncio.run(connected(url))
