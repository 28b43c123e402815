"""The short form of ``make chaos-channels``."""

from __future__ import annotations

import random

import pytest

from tests.chaos.channels import chaos


@pytest.mark.chaos
@pytest.mark.timeout(120)
def test_clients_that_resume_miss_nothing_while_notifier_fronts_and_ledger_are_killed(tmp_path):
    lines: list[str] = []
    report = chaos(tmp_path, random.SystemRandom().getrandbits(32), clients=60, kills=6, progress=lines.append)
    assert not report.broken, "\n".join([f"seed {report.seed}", *lines, *report.broken])
    assert report.listened["resumed"] > 0
    assert report.listened["events"] > 0
