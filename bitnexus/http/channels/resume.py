"""What a client says when it joins: from where it goes on, and what it wants besides. Pure.

{"resume": {"epoch": e, "seq": n}}    go on after event n of the topic
{"resume": {}}                        begin; from now on events carry their positions
{"balances": true}                    tell balances as well
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_EPOCH_CHARS: Final = 64
MAX_SEQ: Final = 2**53 - 1


class BadJoin(Exception):
    """The join's payload is not understood."""


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a client has got a topic's events."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Wishes:
    """`numbered`: the channel can be resumed; `after`: from where, None to begin."""

    numbered: bool = False
    after: Place | None = None
    balances: bool = False


#: Of a client that knows nothing of positions.
PLAIN: Final = Wishes()


def wishes_of(payload: Mapping[str, Any] | bytes) -> Wishes:
    """What the payload of a phx_join asks for; members that are not known are passed over, as Phoenix does.

    Raises:
        BadJoin: `resume` or `balances` are there, and not as they should be.
    """
    if isinstance(payload, bytes):
        return PLAIN
    balances, resume = payload.get("balances", False), payload.get("resume")
    if not isinstance(balances, bool):
        raise BadJoin("balances must be true or false")
    if resume is None:
        return Wishes(balances=balances)
    if not isinstance(resume, dict):
        raise BadJoin("resume must be an object")
    if not resume:
        return Wishes(numbered=True, balances=balances)
    epoch, seq = resume.get("epoch"), resume.get("seq")
    if not isinstance(epoch, str) or len(epoch) > MAX_EPOCH_CHARS:
        raise BadJoin("resume.epoch must be a string")
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= MAX_SEQ:
        raise BadJoin("resume.seq must be an integer, 0 or more")
    return Wishes(numbered=True, after=Place(epoch, seq), balances=balances)
