"""Processes of a node killed, stopped, hung and blocked, until their successors are up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Final

import psutil

from tests.chaos.excuses import Loss
from tests.chaos.journal import BACK_WITHIN_S, Journal, until
from tests.chaos.program import BLOCK_S
from tests.chaos.schedule import Step
from tests.chaos.target import Target

#: What is silent for 3 s is killed, a heartbeat and a look later at most; the machine may be busy.
HUNG_WITHIN_S: Final = 20.0
#: Until the supervisor of a process that goes on has heard of it.
HEARD_WITHIN_S: Final = 2.0
_PARTITION: Final = "transactions-"
_EVERYTHING: Final = frozenset({"admin", "heart", "root"})


class ProcessFaults:
    """Of `target`. `database_lock`: held while the database is away, without which a heart cannot start.

    `partitions` is to be told how many an operator wants: those above it need not come back.
    """

    def __init__(self, target: Target, journal: Journal, database_lock: asyncio.Lock) -> None:
        self._target, self._journal = target, journal
        self._database_lock = database_lock
        self.node_lock = asyncio.Lock()  # whole nodes die one after another
        self.partitions: int | None = None
        self._fronts_at_start = len(target.fronts())
        self._partitions_at_start = sum(_is_partition(name) for name in target.processes())
        self._held: set[int] = set()  # processes that are stopped

    async def kill(self, step: Step) -> bool:
        found = self._target.named(step.target, step.number)
        if found is None:
            return False  # it is down already
        name, pid = found
        if name == "heart":
            # It needs the database to start again.
            async with self._database_lock, self.node_lock:
                return await self._end(name, pid)
        if _takes_node(name):
            async with self.node_lock:
                return await self._end(name, pid)
        return await self._end(name, pid)

    async def _end(self, name: str, pid: int) -> bool:
        safe_ports: frozenset[int] = frozenset()
        if name.startswith("http-"):
            # It must not accept anything between the look at its connections and its end.
            if not send(pid, signal.SIGSTOP):
                return False
            safe_ports = self._ports_of_others(name)
        front = name if name.startswith("http-") else ""
        async with self._journal.outage(f"kill {name}", _loss(name), front=front, safe_ports=safe_ports):
            if not send(pid, signal.SIGKILL):
                return False
            if name == "heart":
                await until(lambda: not runs(pid), BACK_WITHIN_S, "the heart is dead")
                await asyncio.to_thread(self._target.revive)
            await self._until_other(name, pid)
        return True

    async def stop(self, step: Step) -> bool:
        """For less time than a supervisor takes for a death."""
        found = self._target.named(step.target, step.number)
        if found is None or found[1] in self._held or not send(found[1], signal.SIGSTOP):
            return False
        with self._holding(found[1]):
            await asyncio.sleep(step.seconds)
        return True

    async def hang(self, step: Step) -> bool:
        """Until its supervisor kills it."""
        found = self._target.named(step.target, step.number)
        if found is None or found[1] in self._held:
            return False
        name, pid = found
        async with (
            self.node_lock if _takes_node(name) else contextlib.nullcontext(),
            self._journal.outage(f"hang {name}", _loss(name), front=name if name.startswith("http-") else ""),
        ):
            if not send(pid, signal.SIGSTOP):
                return False
            with self._holding(pid):
                await until(lambda: not runs(pid), HUNG_WITHIN_S, f"{name} is killed because it hangs")
            await self._until_other(name, pid)
        return True

    @contextlib.contextmanager
    def _holding(self, pid: int) -> Iterator[None]:
        """It is silent in the block; and not soon again, or its supervisor would take it for hung."""
        self._held.add(pid)
        try:
            yield
        finally:
            send(pid, signal.SIGCONT)
            asyncio.get_running_loop().call_later(HEARD_WITHIN_S, self._held.discard, pid)

    async def block(self, step: Step) -> bool:
        """Its loop, not its process."""
        found = self._target.named(step.target, step.number)
        if found is None or found[1] in self._held or not send(found[1], signal.SIGUSR2):
            return False
        with self._holding(found[1]):
            await asyncio.sleep(BLOCK_S)
        return True

    async def _until_other(self, name: str, pid: int) -> None:
        """The successor is up; after the death of all, the fronts take connections."""
        supervisor = self._target.processes().get("transactions")

        def is_back() -> bool:
            there = self._target.processes()
            is_anew = there.get("transactions", supervisor) != supervisor
            if name not in there and self._is_gone(name, is_anew=is_anew):
                return True
            successor = there.get(name, pid)
            if successor == pid:
                return False
            if name.startswith("http-"):
                return self._listens(successor)  # one that starts may wait for the database first
            return not _loss(name) & Loss.ALL_FRONTS or self._all_listen()

        await until(is_back, BACK_WITHIN_S, f"{name} is up again")

    def _all_listen(self) -> bool:
        fronts = self._target.fronts()
        return len(fronts) >= self._fronts_at_start and all(map(self._listens, fronts.values()))

    def _listens(self, pid: int) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = psutil.Process(pid).net_connections("tcp4")
            return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self._target.port for each in sockets)
        return False

    def _is_gone(self, name: str, *, is_anew: bool) -> bool:
        """Whether it is a partition that an operator has taken away since, or one too many for a new supervisor."""
        wanted = self._partitions_at_start if is_anew else self.partitions
        return _is_partition(name) and wanted is not None and int(name.removeprefix(_PARTITION)) >= wanted

    def _ports_of_others(self, front: str) -> frozenset[int]:
        ports: set[int] = set()
        for name, pid in self._target.fronts().items():
            if name != front:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for found in psutil.Process(pid).net_connections("tcp4"):
                        # Of its others, to processes of the node, a client can have the port, too.
                        if found.raddr and found.laddr.port == self._target.port:
                            ports.add(found.raddr.port)
        return frozenset(ports)


def _takes_node(name: str) -> bool:
    return name in _EVERYTHING


def _loss(name: str) -> Loss:
    """What nobody can have while this process is down."""
    if name.startswith("http-"):
        return Loss.FRONT
    return Loss.FRONT | Loss.ALL_FRONTS if name == "http" or _takes_node(name) else Loss.NOTHING


def send(pid: int, number: signal.Signals) -> bool:
    """False when there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_partition(name: str) -> bool:
    return name.removeprefix(_PARTITION).isdecimal()
