"""The tables of the last run.

    python -m bench.report                      in the terminal
    python -m bench.report --markdown           as Markdown
    python -m bench.report --into docs          into docs/performance.md, with the plots in docs/performance/

Reads bench/results/latest.json, or the file that is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import plots
from bench import results as files
from bench.arithmetic import Extent
from bench.sheets import Results, Sheet, sheets

PAGE: Final = "performance.md"
BEGIN: Final = "<!-- tables: written by python -m bench.report --into docs -->"
END: Final = "<!-- end of the tables -->"
_GB: Final = 10**9


def show(found: Results, console: Console) -> None:
    """All tables in the terminal."""
    for sheet in sheets(found):
        table = Table(title=sheet.title, caption=sheet.caption)
        for index, column in enumerate(sheet.columns):
            table.add_column(column, justify="left" if index < sheet.texts else "right")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)


def markdown(found: Results) -> str:
    """All tables, and what was measured with."""
    return "\n".join([conditions(found), *(_as_markdown(sheet) for sheet in sheets(found))])


def _as_markdown(sheet: Sheet) -> str:
    lines = [
        f"### {sheet.title}",
        "",
        _row(sheet.columns),
        _row(["---" if index < sheet.texts else "---:" for index in range(len(sheet.columns))]),
        *(_row(row) for row in sheet.rows),
        "",
    ]
    return "\n".join([*lines, sheet.caption, ""] if sheet.caption else lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def conditions(found: Results) -> str:
    """One paragraph: the machine, the versions, the settings."""
    machine, versions, settings = found["machine"], found["versions"], found["settings"]
    ours = settings["bitnexus"]
    shape = found["shape"]
    return (
        f"Measured on {_number_word(machine['cpus'])} shared cores ({machine['processor']}, "
        f"{machine['memory_bytes'] / _GB:.0f} GB) in {found['took_s'] / 60:.0f} minutes. "
        f"BitNexus {found['version']} with {ours['fronts']} fronts and {ours['partitions']} partition(s), "
        f"Python {versions['python']}, PostgreSQL {versions['postgresql']} (fsync {settings['postgresql']['fsync']}, "
        f"synchronous_commit {settings['postgresql']['synchronous_commit']}), aiohttp {versions['aiohttp']}, "
        f"asyncpg {versions['asyncpg']}, FastAPI {versions['fastapi']}, uvicorn {versions['uvicorn']}; the load from "
        f"{versions['generator']} and {versions['pgbench']}; {shape['accounts']:,} accounts of "
        f"{shape['users']} users. {_disturbance(found)}\n"
    )


def _disturbance(found: Results) -> str:
    """How much else went on: what the figures are worth."""
    if not (others := [one["others"] for one in found["rounds"]]):
        return ""
    extent = Extent.of(others)
    return (
        f"Meanwhile {extent.median:.1f} CPUs ({extent.min:.1f}–{extent.max:.1f} by round) were busy with something "
        "else: the nearer that is to nothing, the more the figures say."
    )


def _number_word(count: int) -> str:
    return {1: "one", 2: "two", 4: "four", 8: "eight"}.get(count, str(count))


def written_into(page: str, tables: str) -> str:
    """The page with these tables between its marks.

    Raises:
        ValueError: it has no marks.
    """
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return f"{page[:start]}\n{tables}\n{page[end:]}"


def main() -> int:
    """Show, print or write."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="?", type=Path, default=files.LATEST)
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--into", type=Path, metavar="DIRECTORY", help="write into this directory's performance.md")
    options = parser.parse_args()
    if not options.results.exists():
        print(f"There is no {options.results}: python -m bench makes it.", file=sys.stderr)
        return 1
    found: dict[str, Any] = files.read(options.results)
    if options.into is not None:
        page = options.into / PAGE
        directory = options.into / page.stem
        shown = [f"![{plot.stem}]({directory.name}/{plot.name})\n" for plot in plots.draw(found, directory)]
        page.write_text(written_into(page.read_text(), "\n".join([markdown(found), *shown])))
    elif options.markdown:
        print(markdown(found))
    else:
        console = Console()
        show(found, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
