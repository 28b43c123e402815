"""``bitnexus import``: posts the transfers of a file, CSV or JSON Lines, through the API.

It asks over HTTP, as any program can: from any host, with a token and nothing else, by the rules of every other batch.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bitnexus.importer.batching import Batch
    from bitnexus.importer.run import Import
    from bitnexus.importer.sender import Sender
    from bitnexus.importer.tally import Report, Tally

URL = "http://127.0.0.1:4000"
#: How often a line of progress is written where there is no terminal.
LINE_EVERY_S = 5.0
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--url", envvar="BITNEXUS_URL", default=URL, show_default=True, help="The service's address.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="Else by the name, or by the first byte.")
@click.option("--name", help="What the lines' ids follow from. Else the file's name; a pipe has none.")
@click.option("--batch-size", type=click.IntRange(1, 8_000), default=1_000, show_default=True, help="Lines at a time.")
@click.option("--refused", "wanted", type=click.Path(dir_okay=False), help="Where refused lines go.")
@click.option("--max-refused", type=click.IntRange(0), default=10_000, show_default=True, help="Stop above so many.")
@click.option("--patience", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds without success.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(  # noqa: PLR0917 - click's options
    file: str,
    url: str,
    form: str | None,
    name: str | None,
    batch_size: int,
    wanted: str | None,
    max_refused: int,
    patience: float,
    dry_run: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Post the transfers of FILE ("-": standard input), CSV or JSON Lines.

    BITNEXUS_TOKEN is the access token; the accounts that are debited are its user's, or any for an admin or a service.
    The lines have the fields of POST /api/v1/transactions; in CSV the first one names them.

    An import that was interrupted goes on when it is begun again: lines that were posted are not posted twice. Refused
    lines go to FILE.refused.csv (or .jsonl), which can be mended and imported itself.

    Exit code 0: every line is posted. 1: some were refused, or it did not come to the end.
    """
    from bitnexus.errors import BitNexusError
    from bitnexus.importer.batching import batches
    from bitnexus.importer.identity import ids_of
    from bitnexus.importer.records import csv_records, jsonl_records
    from bitnexus.importer.run import Import
    from bitnexus.importer.sender import Sender
    from bitnexus.importer.tally import Report, Tally

    token = "" if dry_run else _token()
    with _opened(file) as source:
        kind = form or _form_of(file, source)
        records = csv_records if kind == "csv" else jsonl_records
        known_as = name if name is not None else "" if file == "-" else Path(file).name
        lines = batches(records(source.readline, ids_of(known_as)), batch_size)
        report, tally = Report(Path(wanted or _report_of(file, kind)), as_csv=kind == "csv"), Tally()
        trouble = "it was interrupted"
        try:
            with _progress(source) as told:
                work = Import(tally, report, most_refused=max_refused, on_progress=told)
                _run(work, lines, Sender(url, token, patience_s=patience, on_trouble=told) if token else None)
            trouble = ""
        except BitNexusError as error:
            trouble = error.detail
        except OSError as error:
            trouble = str(error)
        finally:
            report.close()
            _summarise(tally, report, trouble, dry_run=dry_run, as_json=as_json)
    if trouble or tally.refused:
        raise click.exceptions.Exit(1)


def _run(work: Import, lines: Iterator[Batch], sender: Sender | None) -> None:
    if sender is None:
        work.check(lines)
        return

    async def send() -> None:
        async with sender:
            await work.send(lines, sender)

    asyncio.run(send())


def _token() -> str:
    from bitnexus.config.client_settings import load_client

    token = load_client().token
    if token is None:
        raise click.UsageError("BITNEXUS_TOKEN is not set: `bitnexus user token` prints one.")
    return token.get_secret_value()


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        # A file of its own: the interpreter, when it ends, waits for its sys.stdin, which the reader may be reading.
        yield open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115 - no path; never to be closed
        return
    with Path(file).open("rb") as source:
        yield source


def _form_of(file: str, source: IO[bytes]) -> str:
    """By the file's name, else by its first byte: an object, or names of fields."""
    by_name = SUFFIXES.get(Path(file).suffix.lower()) if file != "-" else None
    peek: Callable[[int], bytes] = getattr(source, "peek", lambda _: b"")
    return by_name or ("jsonl" if peek(1)[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv")


def _report_of(file: str, kind: str) -> str:
    if file == "-":
        return f"import.refused.{kind}"
    return str(Path(file).with_suffix(f".refused.{kind}"))


# -- what is shown ----------------------------------------------------------------------------------------------------


@contextmanager
def _progress(source: IO[bytes]) -> Iterator[Callable[[Any], None]]:
    """A function that shows a Tally, or a trouble in words: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _line_teller()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    size, at = _size(source), _position(source)
    columns = (
        BarColumn(),
        TextColumn("{task.fields[lines]:,} lines  {task.fields[rate]:,.0f}/s  refused {task.fields[refused]:,}"),
        *((TimeRemainingColumn(),) if size else ()),
        TimeElapsedColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("import", total=size, lines=0, rate=0.0, refused=0)

        def tell(what: Tally | str) -> None:
            if isinstance(what, str):
                bar.console.print(f"trying again: {what}", style="yellow", markup=False, highlight=False)
                return
            rate = what.lines / max(time.monotonic() - started, 1e-3)
            bar.update(task, completed=at(), lines=what.lines, rate=rate, refused=what.refused.total())

        yield tell


def _line_teller() -> Callable[[Any], None]:
    started = last = time.monotonic()

    def tell(what: Tally | str) -> None:
        nonlocal last
        if isinstance(what, str):
            click.echo(f"trying again: {what}", err=True)
            return
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            click.echo(
                f"{what.lines} lines  {what.lines / (now - started):.0f}/s  refused {what.refused.total()}", err=True
            )

    return tell


def _size(source: IO[bytes]) -> int | None:
    """The bytes of a file; None of a pipe."""
    return os.fstat(source.fileno()).st_size or None if source.seekable() else None


def _position(source: IO[bytes]) -> Callable[[], int]:
    """How far it has been read: what lies ahead in memory, two batches, counts as read."""
    return source.tell if source.seekable() else lambda: 0


def _summarise(tally: Tally, report: Report, trouble: str, *, dry_run: bool, as_json: bool) -> None:
    refused = tally.refused.total()
    if as_json:
        shown = {
            "complete": not trouble,
            "dry_run": dry_run,
            "lines": tally.lines,
            "posted": tally.posted,
            "replayed": tally.replayed,
            "refused": refused,
            "refused_by_code": dict(tally.refused),
            "last_line": tally.last_line,
            "report": str(report.path) if report.path else None,
            "trouble": trouble or None,
        }
        click.echo(json.dumps(shown))
        return
    click.echo(f"lines      {tally.lines}")
    if dry_run:
        click.echo("posted     nothing: a dry run")
    else:
        click.echo(f"posted     {tally.posted}")
        click.echo(f"replayed   {tally.replayed}")
    click.echo(f"refused    {refused}")
    for code, count in tally.refused.most_common():
        click.echo(f"  {code}  {count}")
    for line, wrong in tally.examples:
        click.echo(f"  line {line}: {wrong.detail}")
    if report.path is not None:
        click.echo(f"report     {report.path}")
    if trouble:
        click.echo(
            f"Not complete: {trouble}. It has come to line {tally.last_line}; begun again, it goes on.", err=True
        )
