"""Reads the lines of a file of transfers, CSV or JSON Lines, one by one: memory does not grow with the file. Pure.

A record is what one transfer of ``POST /transactions/batch`` is: the same fields, by the same rules. In CSV the first
line names the fields; an empty cell is a field left out, and `metadata` is JSON. Fields whose names begin with
``refused_`` are passed over, so that the report of refused lines can be mended and imported itself.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from bitnexus.errors import BadRequest, BitNexusError, InvalidFields
from bitnexus.http.api.transactions import TransactionFields
from bitnexus.http.api.transfer_requests import REQUIRED, canonical, missing_fields
from bitnexus.http.validation import parse_json, validate

#: Longest line, in bytes.
MAX_LINE: Final = 64 * 1024
#: Fields of the report; in a file to be imported they mean nothing.
REPORTED: Final = "refused_"
FIELDS: Final = tuple(TransactionFields.model_fields)

_INTEGERS: Final = frozenset({"amount", "code", "timeout_s"})
_INTEGER: Final = re.compile(r"[0-9]{1,19}")
_FORM: Final = TypeAdapter(TransactionFields)
_BOM: Final = b"\xef\xbb\xbf"

#: Reads at most so many bytes up to and with the next line break; b"" at the end.
ReadLine = Callable[[int], bytes]
#: The id for the record that begins in this line, when it has none; None if there is none for it either.
IdOf = Callable[[int], str | None]


class BadFile(BitNexusError):
    """The file is none of transfers."""

    code, title = "bad_file", "The file cannot be imported"


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a record was refused: a code of the API's errors, and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Record:
    """One transfer of the file: the line where it begins, what it says, and why that cannot be asked for.

    `given` is what stood there, as an object, or the text of a line that is none; `encoded` is the JSON to be sent.
    """

    line: int
    given: dict[str, Any] | str
    encoded: bytes = b""
    wrong: Wrong | None = None


def jsonl_records(read_line: ReadLine, id_of: IdOf) -> Iterator[Record]:
    """The records of a file with a JSON object in each line; empty lines are passed over."""
    for number, text in _lines(read_line):
        if isinstance(text, Wrong):
            yield Record(number, "", wrong=text)
        elif text.strip():
            yield _of_json(number, text, id_of)


def csv_records(read_line: ReadLine, id_of: IdOf) -> Iterator[Record]:
    """The records of a CSV file whose first line names the fields.

    Raises:
        BadFile: it does not, or names others.
    """
    source = _CsvLines(read_line)
    rows = csv.reader(source, strict=True)
    names = _header(rows)
    while True:
        source.begin()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(source.first, source.text, wrong=Wrong("bad_line", f"The line is not CSV: {error}"))
            continue
        except _BadLine as bad:
            yield Record(source.first, "", wrong=bad.wrong)
            continue
        if row:
            yield _of_row(source, names, row, id_of)


def _of_json(number: int, text: str, id_of: IdOf) -> Record:
    try:
        given = parse_json(text.encode())
    except BadRequest as error:
        return Record(number, text, wrong=Wrong("bad_line", error.detail.replace("body", "line")))
    if not isinstance(given, dict):
        return Record(number, text, wrong=Wrong("bad_line", "The line is not a JSON object"))
    return _checked(number, {key: value for key, value in given.items() if not key.startswith(REPORTED)}, id_of)


def _of_row(source: _CsvLines, names: list[str], row: list[str], id_of: IdOf) -> Record:
    number = source.first
    if len(row) != len(names):
        detail = f"The line has {len(row)} fields, the first one names {len(names)}"
        return Record(number, source.text, wrong=Wrong("bad_line", detail))
    cells = {name: cell for name, cell in zip(names, row, strict=True) if cell and not name.startswith(REPORTED)}
    fields: dict[str, Any] = dict(cells)
    for name in _INTEGERS & cells.keys():
        if _INTEGER.fullmatch(cells[name]):
            fields[name] = int(cells[name])
    if "metadata" in cells:
        try:
            fields["metadata"] = parse_json(cells["metadata"].encode())
        except BadRequest as error:
            detail = f"metadata: {error.detail.replace('The body', 'it')}"
            return Record(number, cells, wrong=Wrong("bad_line", detail))
    return _checked(number, fields, id_of)


def _checked(number: int, given: dict[str, Any], id_of: IdOf) -> Record:
    """The record, by the rules of the API."""
    try:
        fields = validate(_FORM, given)
        if fields.metadata:
            canonical(fields.metadata, "#")
    except InvalidFields as error:
        first = error.violations[0]
        return Record(number, given, wrong=Wrong(error.code, f"{first.field}: {first.message}"))
    missing = missing_fields(fields)
    if missing:
        return Record(number, given, wrong=Wrong(InvalidFields.code, f"{missing[0]}: {REQUIRED}"))
    if fields.id is not None:
        return Record(number, given, orjson.dumps(given))
    id_ = id_of(number)
    if id_ is None:
        return Record(number, given, wrong=Wrong(InvalidFields.code, "id: required where the import has no name"))
    return Record(number, given, orjson.dumps({**given, "id": id_}))


# -- lines ----------------------------------------------------------------------------------------------------------


class _BadLine(Exception):
    """A line that is no text; not a `ValueError`, which csv would not let through unharmed."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(wrong.detail)
        self.wrong = wrong


def _lines(read_line: ReadLine) -> Iterator[tuple[int, str | Wrong]]:
    """The lines with their numbers from 1, and what is wrong with those that are no text."""
    number = 0
    while piece := read_line(MAX_LINE + 1):
        number += 1
        if len(piece) > MAX_LINE:
            while not piece.endswith(b"\n") and piece:
                piece = read_line(MAX_LINE)
            yield number, Wrong("bad_line", f"The line has more than {MAX_LINE} bytes")
            continue
        try:
            yield number, (piece.removeprefix(_BOM) if number == 1 else piece).decode()
        except UnicodeDecodeError:
            yield number, Wrong("bad_line", "The line is not UTF-8")


class _CsvLines:
    """The lines for csv's reader, and where the present record began."""

    def __init__(self, read_line: ReadLine) -> None:
        self._lines = _lines(read_line)
        self._of_record: list[str] = []
        self._begins = True
        self.first = 0

    @property
    def text(self) -> str:
        """The lines of the present record, or what was read of them."""
        return "".join(self._of_record)

    def begin(self) -> None:
        """The next line is a record's first."""
        self._begins = True

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        number, text = next(self._lines)
        if self._begins:
            self.first, self._begins = number, False
            self._of_record.clear()
        if isinstance(text, Wrong):
            raise _BadLine(text)
        self._of_record.append(text)
        return text


def _header(rows: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip() for name in next(rows, [])]
    except (csv.Error, _BadLine) as error:
        raise BadFile(f"The first line does not name the fields: {error}") from error
    unknown = [name for name in names if name not in FIELDS and not name.startswith(REPORTED)]
    if not names or unknown or len(set(names)) != len(names):
        what = f"not of a transfer: {', '.join(unknown)[:200]}" if unknown else "missing, or one stands twice"
        raise BadFile(f"The first line must name the fields ({', '.join(FIELDS)}); {what}")
    return names
