"""What the declared tree promises whatever the settings are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitnexus import application
from bitnexus.config import Settings
from bitnexus.heart import STOP_S
from bitnexus.supervision.spec import ProcessStart


@pytest.mark.parametrize("fronts", [1, 2, 3, 8, 64])
def test_fronts_that_all_wait_for_slow_clients_leave_the_ledger_its_time_to_stop(tmp_path: Path, fronts: int):
    settings = Settings(profile="test", data_dir=tmp_path, fronts=fronts)
    specs = {spec.id: spec for spec in application.tree(settings)}
    start = specs["http"].start
    assert isinstance(start, ProcessStart)
    children: Any = start.args["children"]
    assert len(children) == fronts
    for front in children:
        assert 0 < front.start.args["drain_s"] * 1000 < front.shutdown
    assert sum(front.shutdown for front in children) + specs["ledger"].shutdown <= STOP_S * 1000
