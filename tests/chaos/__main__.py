"""``make chaos``: breaks a node under load at random, and judges what its clients were told.

    python -m tests.chaos [--minutes 10] [--seed N] [--report FILE] [--running] [--keep DIRECTORY]

Without --running it starts a node and a PostgreSQL of its own. With it, the node of the settings in force is broken
(BITNEXUS_DATA_DIR, PORT, DATABASE_URL, as for operators' commands), which must run on this host; some faults are
skipped then, and the report says which. Not for a node whose users are not yours. Exit code 1: a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.display import display
from tests.chaos.report import Report
from tests.chaos.run import PAUSE_S, Run
from tests.chaos.target import Own, Running, Target


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--report", type=Path, help="write the numbers there, as JSON")
    parser.add_argument("--running", action="store_true", help="break the node that runs already on this host")
    parser.add_argument("--keep", type=Path, help="a new directory for the node's log and data, which stay")
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds between two requests of a client")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    seconds = options.seconds if options.seconds is not None else options.minutes * 60
    with ExitStack() as stack:
        target: Target
        if options.running:
            target = Running()
        else:
            directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
            directory.mkdir(parents=True, exist_ok=True)
            target = stack.enter_context(Own(directory.resolve()))
        show = stack.enter_context(display())
        report = asyncio.run(Run(target, options.seed, seconds, show, options.pause).run())
    _tell(report, options.report)
    sys.exit(0 if report.is_good else 1)


def _tell(report: Report, to: Path | None) -> None:
    print("\n".join(report.lines()))
    text = json.dumps(report.as_json(), indent=2)
    print(text, flush=True)
    if to is not None:
        to.write_text(text + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # nothing is left behind either way
    try:
        main()
    except KeyboardInterrupt:  # what was started and mounted is cleared up by then
        print("interrupted", flush=True)
        sys.exit(130)
