"""A moment of the ledger in a query: ``?at=`` an event's number or a time."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from bitnexus.actors.ledger.moments import Moment, moment
from bitnexus.errors import InvalidFields, Violation
from bitnexus.storage.ledger import Executor, last_seq
from bitnexus.storage.ledger_accounting import seq_at

_SCHEMA: Final = {
    "anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, {"type": "string", "format": "date-time"}],
    "description": "an event's number, or a time of RFC 3339",
}


def _moment(value: Any) -> Moment:  # noqa: ANN401 - what a query has
    try:
        # A plus sign that was not escaped arrives as a space; in a time it can be nothing else.
        head, space, offset = str(value).rpartition(" ")
        return moment(f"{head}+{offset}" if space and ":" in head else str(value))
    except ValueError as error:
        raise PydanticCustomError("moment", "{reason}", {"reason": str(error)}) from error


#: The type of the parameter: an event's number, or a time of RFC 3339.
At = Annotated[Moment, BeforeValidator(_moment), WithJsonSchema(_SCHEMA)]


async def seq_of(db: Executor, at: Moment) -> int:
    """The last event that counts at that moment: of a time, that of the last block made until then; -1 for none.

    Raises:
        InvalidFields: there is no event of that number yet.
    """
    if at.seq is None:
        return await seq_at(db, at.time_us)
    newest = await last_seq(db)
    if at.seq > newest:
        raise InvalidFields(violations=(Violation("#/query/at", f"must not exceed the newest event, {newest}"),))
    return at.seq
