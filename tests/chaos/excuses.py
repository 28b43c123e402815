"""Which trouble of a client has an excuse: a fault that was under way, of a kind that may cause it. Pure.

    trouble       what the client saw                            is excused by a fault that takes away
    BROKEN        its connection ended without an answer         a front, to which the connection may have belonged
    DEAF          no connection could be made                    all fronts, or several that take one each
    SILENT        no answer in all the time that there is        a front
    UNAVAILABLE   503 with Retry-After, nothing was decided      the database
    TURNED_AWAY   503 to who wants to open a socket              all fronts: the one that was reached is on its way out
    WRONG         any other answer than those that are right     nothing

Everything else must be answered. Times are those of one monotonic clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


class Kind(enum.Enum):
    """See the table."""

    BROKEN = "broken"
    DEAF = "deaf"
    SILENT = "silent"
    UNAVAILABLE = "unavailable"
    TURNED_AWAY = "turned away"
    WRONG = "wrong"


class Loss(enum.Flag):
    """What a fault takes away for a while."""

    NOTHING = 0
    FRONT = enum.auto()
    ALL_FRONTS = enum.auto()
    DATABASE = enum.auto()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one attempt of a client's came to. `opened_at`: when its connection was made, or its attempt began."""

    client: str
    kind: Kind
    opened_at: float
    at: float
    words: str
    local_port: int = 0  # 0: there was no connection


@dataclass(slots=True)
class Outage:
    """A fault, from its beginning until all is as before.

    `front`: which one it takes, if one alone. `safe_ports`: of clients that were surely at other fronts.
    """

    fault: str
    loss: Loss
    began_at: float
    ended_at: float = math.inf
    front: str = ""
    safe_ports: frozenset[int] = frozenset()


#: What a client notices later than it happened: a connection that was never accepted, a machine that is busy.
NOTICED_WITHIN_S: Final = 0.5
_EXCUSED_BY: Final = {
    Kind.BROKEN: Loss.FRONT,
    Kind.DEAF: Loss.ALL_FRONTS,
    Kind.SILENT: Loss.FRONT,
    Kind.UNAVAILABLE: Loss.DATABASE,
    Kind.TURNED_AWAY: Loss.ALL_FRONTS,
    Kind.WRONG: Loss.NOTHING,
}


def unexcused(troubles: Iterable[Trouble], outages: Iterable[Outage], fronts: int) -> list[Trouble]:
    """Those that no outage explains, at a node with so many fronts."""
    outages = list(outages)
    return [
        trouble
        for trouble in troubles
        if not any(_excuses(outage, trouble) for outage in outages)
        and not (trouble.kind is Kind.DEAF and _fronts_away(outages, trouble.at) >= fronts)
    ]


def under_way(outages: Iterable[Outage], at: float) -> list[Outage]:
    """The outages at that time, and those that had just ended."""
    return [each for each in outages if each.began_at <= at <= each.ended_at + NOTICED_WITHIN_S]


def _fronts_away(outages: Iterable[Outage], at: float) -> int:
    return len({outage.front for outage in under_way(outages, at) if outage.front})


def _excuses(outage: Outage, trouble: Trouble) -> bool:
    if not _EXCUSED_BY[trouble.kind] & outage.loss:
        return False
    if trouble.at < outage.began_at or trouble.opened_at > outage.ended_at + NOTICED_WITHIN_S:
        return False
    if trouble.kind is Kind.SILENT:
        return True  # its time overlaps that of the outage
    if trouble.kind is Kind.BROKEN and trouble.local_port in outage.safe_ports:
        return False
    return trouble.at <= outage.ended_at + NOTICED_WITHIN_S
