"""``bitnexus partitions``: how many processes share the users' actors, and another number of them while they work."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final, TypeVar

import click

if TYPE_CHECKING:
    from bitnexus.actors.runtime.message import Message

M = TypeVar("M", bound="Message")

CONNECT_TIMEOUT_S: Final = 5.0
#: Without BITNEXUS_TOKEN, whoever can read the node's secret is its operator, and signs a token for so long.
_TOKEN_S: Final = 60
#: Such an operator's id.
_OPERATOR: Final = str(uuid.UUID(int=0))


@click.command("partitions")
@click.argument("count", type=click.IntRange(1, 256), required=False, metavar="[N]")
@click.option("--within", "within_s", default=60.0, show_default=True, help="Seconds to wait; it goes on in any case.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, count: int | None, within_s: float, as_json: bool) -> None:
    """Show how many partitions there are, or have N of them from now on.

    Users move between partitions while transfers go on: none fails, a few wait some milliseconds longer. It lasts until
    the partitions' supervisor is restarted; BITNEXUS_PARTITIONS is the number it begins with.
    """
    from bitnexus.actors.messages import GetPartitions, Partitions, PartitionsSet, SetPartitions

    if count is None:
        found = asyncio.run(_ask(GetPartitions(), Partitions, CONNECT_TIMEOUT_S))
        _print({"count": found.count}, _number_of(found.count), as_json=as_json)
        return
    done = asyncio.run(_ask(SetPartitions(count), PartitionsSet, within_s))
    fields = {"before": done.before, "count": done.count, "slots": done.slots, "seconds": round(done.seconds, 3)}
    if done.before == done.count:
        text = f"There were {_number_of(done.count)} already."
    else:
        share = f"{done.slots / 1024:.0%} of the users moved in {done.seconds:.2f} s"
        text = f"{_number_of(done.count)} instead of {done.before}: {share}."
    _print(fields, text, as_json=as_json)


async def _ask(message: Message, wanted: type[M], timeout_s: float) -> M:
    from bitnexus.actors.transactions.partitioning import TRANSACTIONS
    from bitnexus.client import connect
    from bitnexus.errors import UnknownMessage

    async with connect(token=_token(), connect_timeout_s=CONNECT_TIMEOUT_S) as node:
        answer = await node.call(TRANSACTIONS, message, timeout_s=timeout_s)
    if not isinstance(answer, wanted):
        raise UnknownMessage(f"The node answered by {type(answer).__name__}: it is of another version")
    return answer


def _token() -> str:
    from bitnexus.client.identity import Identity
    from bitnexus.config import get_settings
    from bitnexus.tokens import AccessTokens

    known = Identity(None, None, None, None)
    known.find()  # before a secret is made for a node that is not there; raises NoProcess
    secret = get_settings().secret_key_base.get_secret_value
    return known.token() or AccessTokens(secret(), _TOKEN_S).issue(_OPERATOR, "admin")


def _number_of(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"


def _print(fields: dict[str, float], text: str, *, as_json: bool) -> None:
    import orjson

    click.echo(orjson.dumps(fields).decode() if as_json else text)
