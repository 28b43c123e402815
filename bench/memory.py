"""Memory of an idle service: the proportional set size of every process, without PostgreSQL.

    python -m bench.memory

A page that several processes share counts for each of them by its share, so that the sum is what the machine gives.
Exit code 1 above the goal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.cpu import proportional_set_bytes
from tests.running import RunningService

GOAL_BYTES = 300 * 1000 * 1000
_MB = 1000 * 1000


def main() -> None:
    """Start the service, look, stop it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="bitnexus-bench-") as directory, RunningService(Path(directory)) as service:
        service.start()
        sizes = {
            f"{name} ({pid})": proportional_set_bytes(pid)
            for pid, name in sorted(service.names().items())
            if name != "postgresql"
        }
        service.process.terminate()
        service.wait()
    table = Table(title="Memory of an idle service, without PostgreSQL", show_footer=True)
    total = sum(pss for pss, _ in sizes.values())
    table.add_column("process", footer="all")
    table.add_column("proportional MB", footer=f"{total / _MB:.1f}", justify="right")
    table.add_column("private MB", footer=f"{sum(private for _, private in sizes.values()) / _MB:.1f}", justify="right")
    for name, (pss, private) in sizes.items():
        table.add_row(name, f"{pss / _MB:.1f}", f"{private / _MB:.1f}")
    Console().print(table, f"Goal: below {GOAL_BYTES / _MB:.0f} MB.")
    sys.exit(0 if total < GOAL_BYTES else 1)


if __name__ == "__main__":
    main()
