"""The results of the latest transfers, so that a repeated command is answered without asking the database. Pure.

They are kept in two generations. The younger one takes in whole blocks, which costs next to nothing; once it holds half
of what may be kept, it becomes the older one, and what was in that is forgotten at once.
"""

from __future__ import annotations

from bitnexus.actors.ledger.commands import Recorded


class Recent:
    """By transfer id, at most `most` and one block; and of what was added, at least the latest `most` / 2."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._young: dict[str, Recorded] = {}
        self._old: dict[str, Recorded] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, transfer_id: str, /) -> Recorded | None:
        """What the ledger holds under the id, if it is remembered."""
        return self._young.get(transfer_id) or self._old.get(transfer_id)

    def add(self, results: dict[str, Recorded]) -> None:
        """Remember these."""
        self._young.update(results)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()
