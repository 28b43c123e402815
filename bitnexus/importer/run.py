"""One import from end to end: a thread reads ahead, by two batches at most, while one is being sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from bitnexus.errors import BitNexusError
from bitnexus.importer.batching import Batch
from bitnexus.importer.records import Record, Wrong
from bitnexus.importer.sender import Sender
from bitnexus.importer.tally import Report, Tally

READ_AHEAD: Final = 2


class TooManyRefused(BitNexusError):
    """More lines were refused than the import was to bear."""

    code, title = "too_many_refused", "Too many lines were refused"


class Import:
    """Counts and reports while batches are sent, or only read.

    `on_progress` is told after each batch. With more than `most_refused` refused lines it ends.
    """

    def __init__(
        self, tally: Tally, report: Report, *, most_refused: int, on_progress: Callable[[Tally], None]
    ) -> None:
        self._tally = tally
        self._report = report
        self._most_refused = most_refused
        self._on_progress = on_progress

    def check(self, batches: Iterator[Batch]) -> None:
        """Read everything and send nothing.

        Raises:
            BadFile, TooManyRefused, OSError: it was not read to its end.
        """
        for batch in batches:
            self._take_in(batch)
            self._done(batch)

    async def send(self, batches: Iterator[Batch], sender: Sender) -> None:
        """Read and send everything.

        Raises:
            BadFile, TooManyRefused, Unauthorized, GaveUp, OSError: it was not sent to its end.
        """
        async for batch in _ahead(batches):
            self._take_in(batch)
            await sender.send(batch.good, self._decided)
            self._done(batch)

    def _take_in(self, batch: Batch) -> None:
        for record in batch.wrong:
            assert record.wrong is not None
            self._refuse(record, record.wrong)

    def _done(self, batch: Batch) -> None:
        self._tally.lines += batch.lines
        self._tally.last_line = batch.last_line
        self._on_progress(self._tally)

    def _decided(self, record: Record, wrong: Wrong | None, replayed: bool) -> None:  # noqa: FBT001 - see Decided
        if wrong is not None:
            self._refuse(record, wrong)
        elif replayed:
            self._tally.replayed += 1
        else:
            self._tally.posted += 1

    def _refuse(self, record: Record, wrong: Wrong) -> None:
        self._tally.refuse(record.line, wrong)
        self._report.add(record, wrong)
        if self._tally.refused.total() > self._most_refused:
            raise TooManyRefused(f"More than {self._most_refused} lines were refused; the last one is {record.line}")


async def _ahead(batches: Iterator[Batch]) -> AsyncIterator[Batch]:
    """The batches, read by a thread: a slow pipe does not keep the sending, nor Ctrl-C, waiting."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[Batch | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(READ_AHEAD)
    over = threading.Event()

    def read() -> None:
        end: BaseException | None = None
        try:
            for batch in batches:
                room.acquire()
                if over.is_set():
                    return
                loop.call_soon_threadsafe(ready.put_nowait, batch)
        except BaseException as error:  # noqa: BLE001 - raised again where it belongs
            end = error
        if not over.is_set():
            loop.call_soon_threadsafe(ready.put_nowait, end)

    # A daemon: it may be waiting for a pipe when all is over.
    threading.Thread(target=read, name="import reader", daemon=True).start()
    try:
        while (batch := await ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
            room.release()
    finally:
        over.set()
        room.release()
