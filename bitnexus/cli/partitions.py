"""``bitnexus partitions``: how many processes share the users' actors, and another number of them while they work."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from bitnexus.cli._operator import ANSWER_S, json_option, run

if TYPE_CHECKING:
    from bitnexus.actors.runtime.message import Message

M = TypeVar("M", bound="Message")


@click.command("partitions")
@click.argument("count", type=click.IntRange(1, 256), required=False, metavar="[N]")
@click.option("--within", "within_s", default=60.0, show_default=True, help="Seconds to wait; it goes on in any case.")
@json_option
def command(*, count: int | None, within_s: float, as_json: bool) -> None:
    """Show how many partitions there are, or have N of them from now on.

    Users move between partitions while transfers go on: none fails, a few wait some milliseconds longer. It lasts until
    the partitions' supervisor is restarted; BITNEXUS_PARTITIONS is the number it begins with.
    """
    from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions

    if count is None:
        found = _ask(GetPartitions(), Partitions, ANSWER_S)
        _print({"count": found.count}, _number_of(found.count), as_json=as_json)
        return
    done = _ask(SetPartitions(count), PartitionsSet, within_s)
    fields = {"before": done.before, "count": done.count, "slots": done.slots, "seconds": round(done.seconds, 3)}
    if done.before == done.count:
        text = f"There were {_number_of(done.count)} already."
    else:
        share = f"{done.slots / 1024:.0%} of the users moved in {done.seconds:.2f} s"
        text = f"{_number_of(done.count)} instead of {done.before}: {share}."
    _print(fields, text, as_json=as_json)


def _ask(message: Message, wanted: type[M], timeout_s: float) -> M:
    from bitnexus.actors.transactions.partitioning import TRANSACTIONS

    return run(lambda node: node.call(TRANSACTIONS, message, wanted, timeout_s=timeout_s))


def _number_of(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"


def _print(fields: dict[str, float], text: str, *, as_json: bool) -> None:
    import orjson

    click.echo(orjson.dumps(fields).decode() if as_json else text)
