"""``make soak``: runs, shows how it goes, reports; exits with 1 when a promise was broken."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from bitnexus.config import Settings, logging, use
from tests.soak.soak import Soak


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(
            profile="test",
            data_dir=Path(directory) / "var",
            log_format="json",
            log_level="error",
            database_url="postgresql://nowhere/none",
        )
        use(settings)
        logging.configure(settings, process="soak")
        soak = Soak(options.seed, options.minutes * 60, progress=lambda line: print(line, flush=True))
        report = soak.run(Path(directory) / "journal")
    print(json.dumps(report.as_dict(), indent=2))
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
