"""``make test-api``: schemathesis with all its checks against a service of its own; exits with its code."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from bitnexus.storage import schema
from bitnexus.storage.embedded import EmbeddedPostgres
from tests.contract.contract import hold

TIMEOUT_S = 3600.0


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make test-api", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="of every operation")
    parser.add_argument("more", nargs="*", help="options of `schemathesis run`, behind --")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bitnexus-contract-") as directory,
        EmbeddedPostgres(Path(directory, "postgresql"), durable=False) as server,
    ):
        asyncio.run(schema.migrate(server.url))
        place = Path(directory, "service")
        place.mkdir()
        held = hold(server.url, place, examples=options.examples, options=tuple(options.more), timeout_s=TIMEOUT_S)
        code, output = asyncio.run(held)
    print(output)
    sys.exit(code)


if __name__ == "__main__":
    main()
