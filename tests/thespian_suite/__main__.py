"""Run the suite in a directory of its own and leave no process behind; the exit code is that of pytest.

The tests start and kill daemons that detach themselves from whoever started them. So this process makes itself the
one to whom orphans fall, and kills what is left at the end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
#: The tests mostly sleep: more of them than cores run at once.
WORKERS = 8
TEST_TIMEOUT_S = 60
#: The whole suite, and then once more what failed.
TIMEOUT_S = 420
RETRY_TIMEOUT_S = 120

_PR_SET_CHILD_SUBREAPER = 36
_NO_TESTS_COLLECTED = 5


def main(directory: Path) -> int:
    """Run; retry what failed, once and one at a time: many of these tests wait a fixed time for others to act."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
    (directory / "pytest.ini").write_text(f"[pytest]\ncache_dir = {directory / 'cache'}\n", encoding="ascii")
    code = _pytest(directory, TIMEOUT_S, "-n", str(WORKERS))
    if code == 1:
        code = _pytest(directory, RETRY_TIMEOUT_S, "--last-failed", "--last-failed-no-failures=none")
    return code


def _pytest(directory: Path, timeout_s: float, *options: str) -> int:
    command = [sys.executable, "-m", "pytest", "-c", str(directory / "pytest.ini"), f"--rootdir={directory}"]
    command += ["-p", "tests.thespian_suite.base", "-p", "xdist.plugin", "-p", "pytest_timeout"]
    command += ["--pyargs", "thespian.test", "-k", "multiprocTCPBase and not Routing", "-q", "--tb=short", "-rf"]
    command += [f"--timeout={TEST_TIMEOUT_S}", *options]
    process = subprocess.Popen(command, cwd=directory, env=_environment(directory), stdin=subprocess.DEVNULL)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        print(f"the tests did not end within {timeout_s} s", flush=True)  # noqa: T201 - read by who runs this
        return 1
    finally:
        _kill_the_rest()


def _environment(directory: Path) -> dict[str, str]:
    ours = ("BITNEXUS_", "PYTEST_", "PYTHONUNBUFFERED", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if name == "BITNEXUS_LOOP" or not name.startswith(ours)}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "BITNEXUS_DATA_DIR": str(directory / "var"),
        "THESPLOG_FILE_MAXSIZE": "0",
    }


def _kill_the_rest() -> None:
    deadline = time.monotonic() + 10
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for each in left:
            try:
                os.kill(each.pid, signal.SIGKILL)
                os.waitpid(each.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue  # gone already, or not ours yet: it falls to us when its parent is dead


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
