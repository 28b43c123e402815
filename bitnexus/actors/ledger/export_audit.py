"""Verifies an exported ledger, offline: `audit` recomputes it line by line; every fault is named by its line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from typing import TypeVar

from bitnexus.actors.ledger.audit import Audit, Event, Progress, Verified, Wrong, events_of_next
from bitnexus.actors.ledger.checkpoint import Checkpoint, NoteInvalid, Verifier
from bitnexus.actors.ledger.export_lines import (
    BlockLine,
    EndLine,
    EventLine,
    Line,
    Malformed,
    StartLine,
    TotalsLine,
    Unreadable,
    decode,
    decode_start,
)

Found = TypeVar("Found")


def verify_lines(
    lines: Iterable[bytes],
    *,
    trusted: Verifier | None = None,
    notes: Sequence[str] = (),
    progress: Progress = lambda _done, _of: None,
) -> tuple[Verified, Verifier | None]:
    """What was found in order, and the key by which it was signed (None: by no one).

    Args:
        lines: those of the file, each with its line break, none longer than `MAX_LINE_BYTES`.
        trusted: the key that is known to be the ledger's; without it the file's own is taken.
        notes: further checkpoints that the ledger must extend.
        progress: told how many events have been done, and of how many.

    Raises:
        Wrong: names the first line that is wrong.
    """
    source = _Source(lines)
    start = source.start()
    verifier, signed = _signed(start, trusted, notes)
    audit = Audit(signed)
    line = source.next()
    while isinstance(line, BlockLine):
        _block(audit, line, source)
        progress(audit.events, start.events)
        line = source.next()
    if (audit.head.height, audit.events) != (start.blocks, start.events):
        raise source.wrong(
            f"after block {audit.head.height} and event {audit.events - 1}, another block must follow: "
            f"line 1 tells of {start.blocks} blocks and {start.events} events"
        )
    while isinstance(line, TotalsLine):
        _at(source, audit.totals, line.account_id, line.totals)
        line = source.next()
    found = _at(source, audit.end)
    if line != EndLine(found.blocks, found.events, found.accounts, *source.before):
        raise source.wrong("the last line must stand here, and must fit what stands before it")
    source.end()
    return found, verifier


class _Source:
    """The lines one by one, counted."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._last = b""
        self._digest = sha256()
        self.number = 0

    @property
    def before(self) -> tuple[int, str]:
        """How many lines were before the last one, and their digest."""
        return self.number - 1, self._digest.hexdigest()

    def start(self) -> StartLine:
        """The first line."""
        return self._next(decode_start)

    def next(self) -> Line:
        """The next line."""
        return self._next(decode)

    def end(self) -> None:
        """After the last line there must be nothing."""
        if self._raw() is not None:
            raise Wrong(f"line {self.number + 1}: there is more after the last line")

    def wrong(self, what: object) -> Wrong:
        """What is wrong at the last line that was read."""
        return Wrong(f"line {self.number}: {what}")

    def _next(self, decode_line: Callable[[bytes], Found]) -> Found:
        self._digest.update(self._last)
        raw = self._raw()
        if raw is None:
            raise Wrong(f"line {self.number + 1} is missing: the file ends before its last line")
        self.number += 1
        self._last = raw
        if raw[-1:] != b"\n":
            raise self.wrong("it is cut off, or too long")
        try:
            return decode_line(raw)
        except Malformed as error:
            raise self.wrong(error) from error

    def _raw(self) -> bytes | None:
        try:
            return next(self._lines, None)
        except Unreadable as error:
            raise Wrong(f"line {self.number + 1}: {error}") from error


def _at(source: _Source, check: Callable[..., Found], *arguments: object) -> Found:
    """What the check gives; what it finds wrong is named by the line."""
    try:
        return check(*arguments)
    except Wrong as wrong:
        raise source.wrong(wrong) from wrong


def _block(audit: Audit, block: BlockLine, source: _Source) -> None:
    """Have the block and its events, which follow, audited."""
    at, first = source.number, audit.events
    places = {"after_height": audit.head.height, "after_size": first}
    count = _at(source, partial(events_of_next, **places), block.height, block.tree_size)
    events: list[Event] = []
    for seq in range(first, first + count):
        line = source.next()
        if not isinstance(line, EventLine) or line.seq != seq:
            raise source.wrong(f"event {seq} must stand here")
        try:
            events.append(line.event(block))
        except ValueError as error:
            raise source.wrong(f"event {seq}: {error}") from error
    try:
        audit.block(
            block.height,
            block.prev_hash,
            block.hash,
            block.tree_root,
            time_us=block.time_us,
            peaks=None,
            events=events,
        )
    except Wrong as wrong:
        where = f"lines {at} to {source.number}" if wrong.seq is None else f"line {at + 1 + wrong.seq - first}"
        raise Wrong(f"{where}: {wrong}", wrong.seq) from wrong


def _signed(
    start: StartLine, trusted: Verifier | None, notes: Sequence[str]
) -> tuple[Verifier | None, list[Checkpoint]]:
    """The key, and the checkpoints that it has signed."""
    if (start.key is None) != (start.checkpoint is None):
        raise Wrong("line 1: a checkpoint needs a key, and a key a checkpoint")
    try:
        verifier = trusted if start.key is None else Verifier.from_text(start.key)
        signed = [verifier.verify(start.checkpoint)] if verifier and start.checkpoint is not None else []
    except NoteInvalid as error:
        raise Wrong(f"line 1: {error}") from error
    if verifier is not None and verifier.text != (trusted or verifier).text:
        raise Wrong(f"line 1: it was signed by another key, {verifier.text}")
    if verifier is None:
        if notes:
            raise Wrong("there is no key by which the checkpoints that you have kept could be verified")
        return None, []
    try:
        return verifier, signed + [verifier.verify(note) for note in notes]
    except NoteInvalid as error:
        raise Wrong(f"a checkpoint that you have kept: {error}") from error
