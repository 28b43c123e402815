"""The programs that bench.runtime runs: each prints one JSON object of its measurements."""
