"""Properties compute and wait for nobody: one that hangs may show late, and a busy machine is no failure."""

from __future__ import annotations

from pathlib import Path

import pytest

TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of this directory its time, unless it says what it needs."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
