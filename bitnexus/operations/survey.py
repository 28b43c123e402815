"""The tree as its supervisors and the kernel tell of it now."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final

import psutil

from bitnexus.actors.runtime.node import Node
from bitnexus.errors import NoProcess, RuntimeFault, UnknownMessage
from bitnexus.operations.tree import Branch
from bitnexus.supervision.inspection_messages import ChildrenReport, ChildReport, GetChildren

#: How long a supervisor may take to answer; it never blocks.
ANSWER_S: Final = 2.0


async def survey(node: Node, root_name: str) -> Branch:
    """The whole tree. What is below a supervisor that does not answer is missing, and its note says why.

    Raises:
        RuntimeFault: the root does not answer.
    """
    report = await _children_of(node, root_name)
    info = node.whereis(root_name)
    if info is None:
        raise NoProcess(f"There is no {root_name}")
    root = Branch(path=report.path, kind="supervisor", pid=report.pid, uptime_s=_age_s(report.pid))
    return await _grown(node, root, report)


async def _grown(node: Node, supervisor: Branch, report: ChildrenReport) -> Branch:
    children = await asyncio.gather(*(_branch(node, supervisor.path, child) for child in report.children))
    return replace(
        supervisor,
        children=tuple(children),
        strategy=report.strategy,
        restarts_used=report.restarts_used,
        restarts_allowed=report.restarts_allowed,
        period_s=report.period_s,
        replicas=report.replicas,
    )


async def _branch(node: Node, parent_path: str, child: ChildReport) -> Branch:
    found = _as_reported(parent_path, child)
    known = node.whereis(child.id)
    if child.kind != "supervisor" or known is None or known.pid != child.pid:
        return found  # no supervisor, or not there: what is below it is not either
    try:
        return await _grown(node, found, await _children_of(node, child.id))
    except RuntimeFault as error:
        return replace(found, note=f"does not tell of its children: {error.detail}")


def _as_reported(parent_path: str, child: ChildReport) -> Branch:
    path = f"{parent_path}/{child.id}"
    return Branch(
        path=path,
        kind=child.kind,
        status=child.status,
        pid=child.pid,
        restart=child.restart,
        stop_within_s=child.stop_within_s,
        uptime_s=child.uptime_s,
        restarts=child.restarts,
        mailbox=child.mailbox,
        last_exit=child.last_exit,
        last_exit_us=child.last_exit_us,
        declared=tuple(_as_reported(path, each) for each in child.declared),
    )


async def _children_of(node: Node, name: str) -> ChildrenReport:
    answer = await node.call(name, GetChildren(), timeout_s=ANSWER_S)
    if not isinstance(answer, ChildrenReport):
        raise UnknownMessage(f"{name} answered by {type(answer).__name__}")
    return answer


def _age_s(pid: int) -> float | None:
    try:
        began_at = float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
    return max(0.0, time.time() - began_at)


class Gauges:
    """What the kernel says of processes: the memory they have resident, and the share of a core that they use."""

    def __init__(self, pids: list[int]) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._spent_s: dict[int, float] = {}
        self._at_s = time.monotonic()
        for pid in pids:
            try:
                process = psutil.Process(pid)
                self._spent_s[pid] = _spent_s(process)
                self._processes[pid] = process
            except psutil.Error:
                continue  # it has ended meanwhile

    def memory(self, pid: int | None) -> int | None:
        """Bytes, or None for a process that is not there."""
        if pid is None or pid not in self._processes:
            return None
        try:
            rss: int = self._processes[pid].memory_info().rss
        except psutil.Error:
            return None
        return rss

    def cpu(self, pid: int | None) -> float | None:
        """The share of a core since these gauges were made, or None."""
        elapsed_s = time.monotonic() - self._at_s
        if pid is None or pid not in self._processes or elapsed_s <= 0:
            return None
        try:
            return max(0.0, _spent_s(self._processes[pid]) - self._spent_s[pid]) / elapsed_s
        except psutil.Error:
            return None


def _spent_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
