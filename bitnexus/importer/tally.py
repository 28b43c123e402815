"""What came of an import, and the report of the lines that were refused."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import orjson

from bitnexus.importer.records import FIELDS, REPORTED, Record, Wrong

#: Refused lines that the summary shows.
SHOWN: Final = 5
#: Reports of one file: an older one is never overwritten, somebody may be mending it.
MAX_REPORTS: Final = 10_000
ADDED: Final = tuple(f"{REPORTED}{name}" for name in ("line", "code", "detail", "text"))


@dataclass(slots=True)
class Tally:
    """How many lines there were, of which so many were posted now, had been before, or were refused (by code)."""

    lines: int = 0
    posted: int = 0
    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    last_line: int = 0
    examples: list[tuple[int, Wrong]] = field(default_factory=list)

    def refuse(self, line: int, wrong: Wrong) -> None:
        """Count a refused line."""
        self.refused[wrong.code] += 1
        if len(self.examples) < SHOWN:
            self.examples.append((line, wrong))


class Report:
    """The file of refused lines, in the form of the one imported; it is made when there is a line for it.

    Each line says besides in which line it stood, and why it was refused: ``refused_line``, ``refused_code``,
    ``refused_detail``, and ``refused_text`` when it could not be read. Mended, the file can be imported itself.
    """

    def __init__(self, wanted: Path, *, as_csv: bool) -> None:
        self._wanted = wanted
        self._as_csv = as_csv
        self._file: IO[str] | None = None
        self._rows: Any = None
        self.path: Path | None = None

    def add(self, record: Record, wrong: Wrong) -> None:
        """Write a line.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None:
            self._open()
        given = {"refused_text": record.given} if isinstance(record.given, str) else record.given
        added = {"refused_line": record.line, "refused_code": wrong.code, "refused_detail": wrong.detail}
        assert self._file is not None
        if self._rows is not None:
            cells = {name: _cell(value) for name, value in {**given, **added}.items()}
            self._rows.writerow(cells)
        else:
            self._file.write(orjson.dumps({**given, **added}).decode() + "\n")

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        for number in range(1, MAX_REPORTS):
            name = self._wanted.name if number == 1 else f"{self._wanted.stem}-{number}{self._wanted.suffix}"
            path = self._wanted.with_name(name)
            try:
                self._file = path.open("x", encoding="utf-8", newline="")
            except FileExistsError:
                continue
            self.path = path
            if self._as_csv:
                self._rows = csv.DictWriter(self._file, [*FIELDS, *ADDED], extrasaction="ignore")
                self._rows.writeheader()
            return
        raise FileExistsError(f"There are {MAX_REPORTS} reports {self._wanted} already")


def _cell(value: object) -> str:
    if isinstance(value, str | int):
        return str(value)
    return "" if value is None else orjson.dumps(value).decode()
