"""The short form of ``make chaos-ledger``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.running import ROOT


@pytest.mark.chaos
@pytest.mark.timeout(120)
def test_a_ledger_killed_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path):
    """In a process of its own, because it forks a tree; its directory is one with a short name, for the sockets."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.ledger", "--kills", "5", "--restarts", "2"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told, _ = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it has a server and a tree to be stopped
        told, _ = process.communicate(timeout=25)
    assert process.returncode == 0, told
    report = json.loads(told[told.index("{") :])
    assert sum(report["kills"].values()) >= 5, told
    assert report["restarts"] == {"immediate": 1, "fast": 1}, told
    assert report["answers"]["posted"] > 100, told
