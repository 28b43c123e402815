"""``make fuzz``: guided by coverage where atheris is installed, else by chance. Ends at the first input that fails."""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path

SHOW_EVERY = 100_000


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--by-chance", action="store_true", help="also where atheris is installed")
    options = parser.parse_args()
    if options.by_chance or importlib.util.find_spec("atheris") is None:
        _by_chance(options.seconds, options.seed)
    else:
        _by_coverage(options.seconds, options.seed)


def _by_coverage(seconds: int, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["bitnexus.actors.runtime", "tests.fuzz.target"]):
        from tests.fuzz import target
    with tempfile.TemporaryDirectory() as corpus:
        for number, given in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(given)
        limits = [f"-max_total_time={seconds}", f"-seed={seed % (1 << 31)}", "-max_len=8192", "-rss_limit_mb=1024"]
        atheris.Setup([sys.argv[0], *limits, corpus], target.one_input)
        atheris.Fuzz()


def _by_chance(seconds: int, seed: int) -> None:
    from tests.fuzz import target

    chance, corpus = random.Random(seed), target.seeds()
    print(f"seed {seed}")
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = target.mutated(chance.choice(corpus), chance)
        try:
            target.one_input(data)
        except Exception:
            print(f"after {count} inputs: {data.hex()}")
            raise
        count += 1
        if count % SHOW_EVERY == 0:
            print(f"{count} inputs", flush=True)
    print(f"{count} inputs, none failed")


if __name__ == "__main__":
    main()
