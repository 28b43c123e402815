"""The short form of ``make soak``."""

from __future__ import annotations

import random

import pytest

from bitnexus.config import Settings, use
from tests.soak.soak import Soak


@pytest.mark.chaos
@pytest.mark.timeout(150)
def test_every_call_ends_once_and_nothing_leaks_whatever_breaks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = use(
        Settings(
            profile="test",
            data_dir=tmp_path / "var",
            log_format="json",
            log_level="error",
            database_url="postgresql://nowhere/none",
        )
    )
    seed = random.SystemRandom().randrange(1 << 32)
    try:
        report = Soak(seed, 15, progress=print).run(tmp_path / "journal")
    finally:
        use(before)
    assert not report.broken, report.as_dict()
    assert report.answers["replied"] > 100
