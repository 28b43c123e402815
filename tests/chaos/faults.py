"""Does to a node what the schedule says, until it has recovered; the users' and operators' part of it is here.

A node that does not recover in time has broken a promise: `complaints` says which.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

from tests.chaos.asking import once, request
from tests.chaos.database_faults import DatabaseFaults
from tests.chaos.journal import Journal
from tests.chaos.process_faults import ProcessFaults
from tests.chaos.program import POISON
from tests.chaos.schedule import Step
from tests.chaos.target import Target
from tests.customers import Customer

_API: Final = "/api/v1"
#: So many crashes set a user aside.
_MOST_POISON: Final = 8
#: Of a command: somebody whom it takes is down. Of a poisoned user: crashed, or set aside.
_UNAVAILABLE, _FAULT = 503, 500
_WITHIN_S: Final = 20


class Faults:
    """`admin` commands over HTTP, `poisoned` is the user whose actor is made to crash."""

    def __init__(self, target: Target, admin: Customer, poisoned: Customer) -> None:
        self._target = target
        self._admin, self._poisoned = admin, poisoned
        self._operator_lock = asyncio.Lock()
        self._drain_lock = asyncio.Lock()  # with all fronts drained nobody could be told over HTTP to take them back
        self.journal = Journal()
        database_lock = asyncio.Lock()
        self._processes = ProcessFaults(target, self.journal, database_lock)
        self._database = DatabaseFaults(target, self.journal, database_lock)
        self.node_lock = self._processes.node_lock
        self.fronts = len(target.fronts())
        self.counts: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.back_s: dict[str, list[float]] = {}
        self._verbs = {
            "kill": self._processes.kill,
            "stop": self._processes.stop,
            "hang": self._processes.hang,
            "block": self._processes.block,
            "crash": self._database.restart,
            "pause": self._database.pause,
            "exhaust": self._database.exhaust,
            "fill": self._database.fill,
            "poison": self._poison,
            "change": self._change_partitions,
            "jump": self._jump,
            "restart": self._restart,
            "drain": self._drain,
        }

    async def do(self, step: Step) -> None:
        """One fault, until the node has recovered."""
        begun_at = time.monotonic()
        try:
            done = await self._verbs[step.verb](step)
        except AssertionError as error:
            self.complaints.append(f"{step.kind}: {error}")
            done = True
        if done:
            self.counts[step.kind] += 1
            self.back_s.setdefault(step.kind, []).append(time.monotonic() - begun_at)
        else:
            self.passed_over[step.kind] += 1

    async def _jump(self, step: Step) -> bool:
        await asyncio.to_thread(self._target.jump, step.seconds)
        return True

    async def _poison(self, step: Step) -> bool:
        """Messages at which one user's actor raises: 503 for that user, and after some of them for a while."""
        for number in range(1 + step.number % _MOST_POISON):
            fields = {
                "debit_account_id": self._poisoned.account_id,
                "credit_account_id": self._admin.account_id,
                "amount": 1 + number,
                "description": POISON,
            }
            asked = request("POST", f"{_API}/transactions", self._poisoned.token, {"transaction": fields})
            status = await once(self._target.port, asked)
            assert status in {None, _UNAVAILABLE}, f"a poisoned transfer was answered by {status}"
        return True

    async def _change_partitions(self, step: Step) -> bool:
        self._processes.partitions = count = 1 + step.number % 4
        body = {"partitions": {"path": "bitnexus/transactions", "count": count, "within_s": _WITHIN_S}}
        return await self._operate("partitions", body)

    async def _restart(self, step: Step) -> bool:
        """An operator's, of a subtree: nobody may notice, but that fronts take their turns to be away."""
        if step.target == "postgresql":
            return await self._database.restart(step)
        path = f"bitnexus/{step.target}"
        if step.target == "partition":
            found = self._target.named("partition", step.number)
            if found is None:
                return False
            path = f"bitnexus/transactions/{found[0]}"
        async with self.journal.outage(f"restart {path}", front="a restarted one" if step.target == "http" else ""):
            return await self._command("restart", path)

    async def _drain(self, step: Step) -> bool:
        """A front takes no more connections, then it does again."""
        fronts = sorted(self._target.fronts())
        if len(fronts) < self.fronts:
            return False
        front = fronts[step.number % len(fronts)]
        path = f"bitnexus/http/{front}"
        async with self._drain_lock, self.journal.outage(f"drain {front}", front=front):
            drained = await self._command("drain", path)
            return await self._command("resume", path) and drained

    async def _command(self, verb: str, path: str) -> bool:
        return await self._operate("commands", {"command": {"verb": verb, "path": path, "within_s": _WITHIN_S}})

    async def _operate(self, what: str, body: dict[str, Any]) -> bool:
        """False when the tree was in no state for it: somebody else had been killed just then."""
        async with self._operator_lock:
            asked = request("POST", f"{_API}/admin/tree/{what}", self._admin.token, body)
            status = await once(self._target.port, asked)
        fault = status is not None and status >= _FAULT and status != _UNAVAILABLE
        assert not fault, f"{body} was answered by {status}"
        return status in {200, 202}
