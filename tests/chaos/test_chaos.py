"""The short form of ``make chaos``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

SECONDS = 45
#: Of a run that has little of the machine, too.
LEAST_FAULTS = 12


@pytest.mark.chaos
@pytest.mark.timeout(420)
def test_a_node_under_random_faults_fails_no_request_and_breaks_no_promise(tmp_path: Path) -> None:
    """In a process of its own, which has a node, a server and what it has mounted to clear up."""
    found = tmp_path / "report.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", "--seconds", str(SECONDS), "--report", str(found)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told, _ = process.communicate(timeout=360)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=50)
    assert process.returncode == 0, told
    report = json.loads(found.read_text())
    assert set(report) == {
        *("seed", "seconds", "requests", "failed", "violations", "faults"),
        *("longest_gap_s", "throughput", "throughput_without_faults"),
    }
    assert (report["failed"], report["violations"]) == (0, 0), told
    assert sum(report["faults"].values()) >= LEAST_FAULTS, told
    assert report["requests"] > 500, told
    assert report["throughput_without_faults"] > 0, told
