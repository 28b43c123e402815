"""What a caller is told of itself, kept for a moment: who asks again within it is answered without PostgreSQL.

No answer is older than :data:`FRESH_S`, whichever front changed the user; what this front changes itself it forgets at
once. Nothing is decided by what is kept: writes compare versions in PostgreSQL, and tokens are judged by themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from bitnexus.http.fast_path import Answer

FRESH_S: Final = 0.5
#: About 10 MB of answers at most.
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """When somebody began to read a user, and how often any had been forgotten by then."""

    began: float
    forgotten: int


class Callers:
    """The newest answers by user id; `clock` gives seconds."""

    __slots__ = ("_answers", "_clock", "_forgotten", "_most")

    def __init__(self, *, clock: Callable[[], float] = monotonic, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._answers: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._answers)

    def answer(self, user_id: str) -> Answer | None:
        """What the user was told, if that is not too long ago."""
        kept = self._answers.get(user_id)
        if kept is None:
            return None
        began, answer = kept
        if self._clock() - began >= FRESH_S:
            del self._answers[user_id]
            return None
        return answer

    def reading(self) -> Reading:
        """To be asked for before the user is read: as old as this is what will be found."""
        return Reading(self._clock(), self._forgotten)

    def keep(self, user_id: str, answer: Answer, reading: Reading) -> None:
        """Keep the answer, unless a user was forgotten since the reading began: it may show what was before."""
        if reading.forgotten != self._forgotten:
            return
        self._answers[user_id] = (reading.began, answer)
        self._answers.move_to_end(user_id)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """The user was changed: to be called when that is in PostgreSQL, and before anybody is told of it."""
        self._forgotten += 1
        self._answers.pop(user_id, None)
