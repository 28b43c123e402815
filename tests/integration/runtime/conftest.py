"""Settings for trees that live in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitnexus.config import Settings, use


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of the test's processes: nothing of the machine's, all data in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    mine = Settings(
        profile="test", data_dir=tmp_path / "var", log_format="json", database_url="postgresql://nowhere/none"
    )
    before = use(mine)
    yield mine
    use(before)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the processes write what they do."""
    return tmp_path / "journal"


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Callable[[str], list[dict[str, Any]]]:
    """The log lines of one event that all processes have written so far."""
    seen: list[dict[str, Any]] = []

    def of(event: str) -> list[dict[str, Any]]:
        seen.extend(json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{"))
        return [line for line in seen if line["event"] == event]

    return of
