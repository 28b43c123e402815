"""Records become batches, bounded in number and bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitnexus.http.api.batches import MAX_BATCH_BYTES
from bitnexus.importer.records import Record

#: Of the records' JSON; the rest of a body is the brackets and commas around it.
MAX_BYTES: Final = MAX_BATCH_BYTES - 64 * 1024


@dataclass(slots=True)
class Batch:
    """Consecutive records: those to be sent, those that need not be; and the last line that was looked at."""

    good: list[Record] = field(default_factory=list)
    wrong: list[Record] = field(default_factory=list)
    last_line: int = 0
    size: int = 0

    @property
    def lines(self) -> int:
        """How many records there are in all."""
        return len(self.good) + len(self.wrong)


def batches(records: Iterable[Record], most: int) -> Iterator[Batch]:
    """The records in batches of at most `most`."""
    batch = Batch()
    for record in records:
        size = len(record.encoded) + 1
        if batch.lines >= most or (batch.good and batch.size + size > MAX_BYTES):
            yield batch
            batch = Batch()
        batch.last_line = record.line
        if record.wrong is None:
            batch.good.append(record)
            batch.size += size
        else:
            batch.wrong.append(record)
    if batch.lines:
        yield batch


def body_of(records: Sequence[Record]) -> bytes:
    """The body of the request that has these transfers posted."""
    return b'{"transactions":[' + b",".join(record.encoded for record in records) + b"]}"
