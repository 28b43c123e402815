"""What a dynamic supervisor remembers of children that failed lately: their restarts and failures in a row. Pure.

A child without a record has never failed, or so long ago that it does not count any more; so a million healthy
children need none.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bitnexus.supervision.dynamic_flags import Budget
from bitnexus.supervision.intensity import RestartWindow
from bitnexus.supervision.spec import Backoff


@dataclass(slots=True)
class Record:
    """Of one child: restarts that count, failures in a row, when it was started last after a failure.

    `touched_at` is when it failed or was to be restarted last.
    """

    window: RestartWindow | None
    failures: int = 0
    started_at: float = 0.0
    touched_at: float = 0.0


class Records:
    """The records by child; one that cannot matter any more is dropped when another child fails."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._keep_s = budget.period_s if budget else 0.0
        self._records: OrderedDict[str, Record] = OrderedDict()  # the one touched last at the end

    def __len__(self) -> int:
        return len(self._records)

    def get(self, child_id: str) -> Record | None:
        """The record of a child that has one."""
        return self._records.get(child_id)

    def forget(self, child_id: str) -> None:
        """It is gone, or begins anew."""
        self._records.pop(child_id, None)

    def failed(self, child_id: str, backoff: Backoff | None, now: float) -> Record | None:
        """The record of a child that has just failed; None if nothing has to be remembered of it."""
        if backoff is not None:
            # Longest from a failure to the next that still follows on it: it waits, it starts, it runs for a while.
            self._keep_s = max(self._keep_s, 2 * backoff.ceiling_s + backoff.reset_after_s)
        elif self._budget is None:
            return None
        self._drop_old(now)
        record = self._records.get(child_id)
        if record is None:
            budget = self._budget
            window = RestartWindow(budget.restarts, budget.period_s) if budget else None
            record = self._records[child_id] = Record(window, started_at=now)
        self._touch(child_id, record, now)
        return record

    def take(self, child_id: str, now: float) -> bool:
        """Take one unit of a child's budget for a restart; False if it was one too many. It must have a budget."""
        record = self._records.get(child_id) or self.failed(child_id, None, now)
        assert record is not None
        assert record.window is not None
        self._touch(child_id, record, now)
        return record.window.take(now)

    def _touch(self, child_id: str, record: Record, now: float) -> None:
        record.touched_at = now
        self._records.move_to_end(child_id)

    def _drop_old(self, now: float) -> None:
        while self._records:
            child_id, record = next(iter(self._records.items()))
            if record.touched_at >= now - self._keep_s:
                return
            del self._records[child_id]
