"""A moment of the ledger as people write it: the number of an event, or a time. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

#: Sequence numbers are 63 bits in the database.
_LARGEST_SEQ: Final = 2**63 - 1
_SEQ: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """After the event `seq`; or, if that is None, at `time_us`, in microseconds since 1970 (UTC)."""

    seq: int | None
    time_us: int = 0


def moment(text: str) -> Moment:
    """The moment that a text names: digits are a sequence number, anything else is a time of RFC 3339.

    A time needs its offset (``Z``, ``+02:00``); of a second's fraction six digits count.

    Raises:
        ValueError: neither; its message may be shown.
    """
    if _SEQ.fullmatch(text) and int(text) <= _LARGEST_SEQ:
        return Moment(int(text))
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("must be an event's number, or a time such as 2025-01-31T23:59:59Z")
    day, time, fraction, offset = found.groups()
    try:
        parsed = datetime.fromisoformat(f"{day}T{time}{'+00:00' if offset in 'Zz' else offset}")
        whole_us = (parsed - _EPOCH) // timedelta(microseconds=1)
    except ValueError as error:
        raise ValueError("is not a date and time that exist") from error
    return Moment(None, whole_us + int((fraction or "0")[:6].ljust(6, "0")))
