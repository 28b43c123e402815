"""Starts trees in this process (a test without a loop of its own), and looks after what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

from bitnexus.actors.runtime.message import Message
from bitnexus.supervision.launcher import Launcher
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags
from tests.tree.actors import Ping, Pong

PATIENCE_S = 10.0
_SUPERVISOR = "bitnexus.supervision.supervisor:Supervisor"

T = TypeVar("T")


class Tree:
    """A running tree. Its methods drive the launcher's loop."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.node = launcher.node
        self.processes = _below(launcher.admin_pid)

    def run(self, work: Awaitable[T], timeout_s: float = PATIENCE_S) -> T:
        """Run `work` on the launcher's loop."""
        return self.launcher.loop.run_until_complete(asyncio.wait_for(work, timeout_s))

    def call(self, name: str, message: Message, **options: Any) -> Message:
        """Node.call, from the launcher."""
        return self.run(self.node.call(name, message, **options), 60)

    def ping(self, name: str, number: int = 0) -> Pong:
        """Ask `name` for its pid, whatever happens to it meanwhile."""
        answer = self.call(name, Ping(number), retry=True, timeout_s=PATIENCE_S)
        assert isinstance(answer, Pong)
        return answer

    def pid(self, name: str) -> int:
        """Who holds `name` now."""
        self.until(lambda: self.node.whereis(name), f"{name} is up")
        info = self.node.whereis(name)
        assert info is not None
        return info.pid

    def until_replaced(self, name: str, pid: int) -> int:
        """Wait until another process than `pid` holds `name`; gives its pid."""

        def is_replaced() -> bool:
            info = self.node.whereis(name)
            return info is not None and info.pid != pid

        self.until(is_replaced, f"{name} is replaced")
        return self.pid(name)

    def until(self, condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> float:
        """Run the loop until `condition` holds; gives the seconds it took."""

        async def wait() -> float:
            started = time.monotonic()
            while not condition():
                assert time.monotonic() - started < within_s, f"not within {within_s} s: {what}"
                await asyncio.sleep(0.001)
            return time.monotonic() - started

        return self.run(wait(), within_s + 5)

    def await_end(self) -> str:
        """Wait until the tree has ended by itself; gives the reason in words."""
        return str(self.run(self.launcher.wait()))

    def stop(self, timeout_s: float = 10) -> bool:
        """Stop it in order."""
        return self.run(self.launcher.stop(timeout_s), timeout_s + 5)


@contextlib.contextmanager
def running(*children: ChildSpec, flags: SupervisorFlags | None = None) -> Iterator[Tree]:
    """A tree of these children; nothing of it is left afterwards."""
    launcher = Launcher("root", flags or SupervisorFlags(intensity=100), list(children))
    launcher.start()
    tree = Tree(launcher)
    try:
        yield tree
    finally:
        everybody = {*tree.processes, *_below(launcher.admin_pid)}
        launcher.loop.run_until_complete(launcher.stop(5))
        launcher.close()
    assert_gone(everybody)


def worker(
    name: str, journal: Path, *, kind: str = "Worker", args: dict[str, Any] | None = None, **spec: Any
) -> ChildSpec:
    """A spec for a Worker."""
    return ChildSpec(name, ProcessStart(f"tests.tree.actors:{kind}", {"journal": str(journal), **(args or {})}), **spec)


def supervisor(name: str, *children: ChildSpec, flags: SupervisorFlags | None = None, **spec: Any) -> ChildSpec:
    """A spec for a supervisor of these children."""
    args = {"flags": flags or SupervisorFlags(intensity=100), "children": list(children)}
    return ChildSpec(name, ProcessStart(_SUPERVISOR, args), type="supervisor", **spec)


def operated(
    name: str, *children: ChildSpec, flags: SupervisorFlags, later: Iterable[ChildSpec] = (), **spec: Any
) -> ChildSpec:
    """A spec for a supervisor that can be operated by messages (see operated.py)."""
    args = {"flags": flags, "children": list(children), "later": {child.id: child for child in later}}
    return ChildSpec(name, ProcessStart("tests.tree.operated:Operated", args), type="supervisor", **spec)


def lines(journal: Path) -> list[str]:
    """What was written so far."""
    return journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []


def is_alive(process: psutil.Process) -> bool:
    """A zombie is dead: whoever should bury it is no business of ours."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def gone_within(processes: Iterable[psutil.Process], within_s: float) -> float:
    """Wait until they are dead; gives the seconds it took."""
    started = time.monotonic()
    while left := [process for process in processes if is_alive(process)]:
        assert time.monotonic() - started < within_s, f"alive after {within_s} s: {left}"
        time.sleep(0.001)
    return time.monotonic() - started


def assert_gone(processes: Iterable[psutil.Process]) -> None:
    """Nothing of it is left."""
    gone_within(processes, 1.0)


def _below(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []
