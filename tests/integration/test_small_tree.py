"""Partition and notifier in real processes on a real database, with faults; the scenarios are in `scenarios`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.scenarios import SCENARIOS


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_in_a_small_tree(scenario: str, loop: str, fresh_database_url: str, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BITNEXUS_")},
        "DATABASE_URL": fresh_database_url,
        "SECRET_KEY_BASE": "test-" * 16,
        "BITNEXUS_PROFILE": "test",
        "BITNEXUS_DATA_DIR": str(tmp_path / "var"),
        "BITNEXUS_LOG_FORMAT": "json",
        "BITNEXUS_LOOP": loop,
        "BITNEXUS_MAX_IN_FLIGHT": "8" if "in_flight" in scenario else "2000",
    }
    command = [sys.executable, "-m", "tests.integration.scenarios", scenario]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout.decode()
