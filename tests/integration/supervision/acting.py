"""What the tests here do to trees, and what they expect to read in the journal."""

from __future__ import annotations

import os
import signal

from bitnexus.supervision.spec import SupervisorFlags
from tests.tree.actors import Do
from tests.tree.operated import Look, Operate, Result, Seen
from tests.tree.running import Tree

HOUR_S = 3600
TWO_AN_HOUR = SupervisorFlags(intensity=2, period_s=HOUR_S)


def stop_of(*names: str, reason: str = "shutdown") -> list[str]:
    return [line for name in names for line in (f"terminate {name}: {reason}", f"terminated {name}")]


def init_of(*names: str) -> list[str]:
    return [f"init {name}" for name in names]


def look(tree: Tree, name: str = "sub") -> Seen:
    answer = tree.call(name, Look(), retry=True, timeout_s=10)
    assert isinstance(answer, Seen)
    return answer


def operate(tree: Tree, what: str, child: str, name: str = "sub") -> Result:
    answer = tree.call(name, Operate(what, child), timeout_s=20)
    assert isinstance(answer, Result)
    return answer


def kill(tree: Tree, name: str) -> int:
    pid = tree.pid(name)
    os.kill(pid, signal.SIGKILL)
    return pid


def kill_and_await(tree: Tree, name: str) -> int:
    return until_back(tree, name, kill(tree, name))


def until_back(tree: Tree, name: str, pid: int) -> int:
    """Wait until another process than `pid` holds the name, and its supervisor knows; gives its pid."""
    now = tree.until_replaced(name, pid)
    until_state(tree, name, now)
    return now


def end(tree: Tree, name: str) -> None:
    """Have it end by itself, normally."""
    tree.ping(name)
    assert tree.node.cast(name, Do("end"))


def until_state(tree: Tree, child: str, state: object) -> None:
    """Wait until its supervisor shows the child so."""
    deadline = tree.launcher.loop.time() + 10
    while look(tree).children.get(child, "forgotten") != state:
        assert tree.launcher.loop.time() < deadline, (child, state, look(tree).children)
