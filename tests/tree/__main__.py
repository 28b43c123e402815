"""A tree as a program of its own: ``python -m tests.tree DIRECTORY`` prints its pids; SIGINT or SIGTERM stops it.

root ── a, sub ── b, c
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from bitnexus.config import Settings, use
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import SupervisorFlags
from tests.tree.running import supervisor, worker


def main(directory: Path) -> None:
    """Run until a signal."""
    use(
        Settings(
            profile="test", data_dir=directory / "var", log_format="json", database_url="postgresql://nowhere/none"
        )
    )
    journal = directory / "journal"
    children = [worker("a", journal), supervisor("sub", worker("b", journal), worker("c", journal))]
    launcher = Launcher("root", SupervisorFlags(), children)
    launcher.start()
    in_time = launcher.loop.run_until_complete(until_signalled(launcher))
    launcher.close()
    sys.exit(0 if in_time else 1)


async def until_signalled(launcher: Launcher) -> bool:
    """Stop the tree at a signal; whether it stopped in time."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        launcher.loop.add_signal_handler(number, stopped.set)
    infos = [launcher.node.whereis(name) for name in launcher.node.names()]
    pids = {info.name: info.pid for info in infos if info is not None}
    print(json.dumps({**pids, "admin": launcher.admin_pid}), flush=True)  # noqa: T201 - it is what the test waits for
    await stopped.wait()
    return await launcher.stop(10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
