"""``make chaos-ledger``: kills the ledger under load, and PostgreSQL with it, and judges what is left.

    python -m tests.chaos.ledger [--kills 200] [--restarts 10] [--seed N]

A ledger, a partition and a notifier as in service, on a durable PostgreSQL behind a gate (`gate`). Callers pay, are
refused, send batches, and repeat each command until it is answered. Meanwhile the ledger is killed by SIGKILL:

- *committed*: when the block is in the database and the answer to the COMMIT has not reached the ledger;
- *sent*: when the server has got half of what the ledger sent;
- *any*: at any moment;

and PostgreSQL is restarted, by an immediate shutdown (as in a crash) and by a fast one in turn, some of the kills while
it is away. The same seed makes the same plan, not the same run. Exit code 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from bitnexus.actors.ledger.audit import Wrong
from bitnexus.actors.ledger.export import export_lines
from bitnexus.actors.ledger.export_audit import verify_lines
from bitnexus.actors.ledger.verification import verify
from bitnexus.actors.messages import GetHead
from bitnexus.config import Settings, use
from bitnexus.errors import DatabaseUnavailable, RuntimeFault
from bitnexus.storage import migrator
from bitnexus.storage.embedded import EmbeddedPostgres
from tests.chaos.gate import Gate, Hold
from tests.chaos.ledger_callers import LEDGER, MOST_COMPLAINTS, Book, Callers, words
from tests.integration.ledger_harness import audit
from tests.integration.small_tree import Tree, run

KINDS: Final = ("committed", "committed", "sent", "any", "any")
USERS: Final = 24
BATCHES: Final = 3
LARGE_BATCHES: Final = 4
#: How long the moment for a kill is waited for; then it is one of any kind.
MOMENT_S: Final = 5.0
#: Within this the next ledger must be up and have answered a caller.
BACK_WITHIN_S: Final = 30.0
#: Within this after the last kill everybody must have been answered, and thousands again.
END_WITHIN_S: Final = 120.0
LONGEST_PAUSE_S: Final = 0.3
#: Of the processes' log lines, shown if a promise was broken, in characters.
LOG_TAIL: Final = 20_000
_TABLE: Final = """
SELECT id::text, seq, block, refusal, amount, debit_account_id::text, credit_account_id::text, kind
FROM ledger_transfers
"""


@dataclass
class Report:
    """What happened; `broken` are the promises that were not kept."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    back_s: list[float] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    slowest_answer_s: float = 0.0
    verified: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        back = self.back_s or [0.0]
        median = {"median": round(statistics.median(back), 3), "max": round(max(back), 3)}
        return {**vars(self), "slowest_answer_s": round(self.slowest_answer_s, 3), "back_s": median}


class Chaos:
    """One run."""

    def __init__(self, server: EmbeddedPostgres, gate: Gate, report: Report, progress: Callable[[str], None]) -> None:
        self._server, self._gate = server, gate
        self._report, self._progress = report, progress
        self._chance = random.Random(report.seed)
        self._book = Book()
        self._tree: Tree

    async def run(self, tree: Tree, kills: int, restarts: int) -> None:
        """Load it, break it, let it come to rest, ask again for what was answered."""
        self._tree = tree
        callers = Callers(tree, self._book, self._chance)
        async with asyncio.timeout(BACK_WITHIN_S):
            while not await self._has_head():  # it was started before the gate was
                await asyncio.sleep(0.02)
        await callers.open(USERS)
        tasks = callers.start(BATCHES, LARGE_BATCHES)
        restart_before = {each * kills // restarts + kills // (2 * restarts) for each in range(restarts)}
        try:
            for number in range(kills):
                if number in restart_before:
                    await self._restart_server(number)
                await self._kill(self._chance.choice(KINDS))
                for task in tasks:
                    if task.done():
                        task.result()
                if (number + 1) % 10 == 0 or number + 1 == kills:
                    self._show(number + 1, kills)
        finally:
            callers.stop()
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await asyncio.gather(*tasks)
                await callers.ask_again()
        except TimeoutError:
            self._book.complain(f"not everybody was answered in {END_WITHIN_S:.0f} s after the last kill")
        self._report.answers = dict(self._book.counts)
        self._report.slowest_answer_s = self._book.slowest_s
        self._report.broken += self._book.complaints

    async def judge(self) -> None:
        """After the tree has been stopped: look at the database alone."""
        db = await asyncpg.connect(self._server.url)
        try:
            rows = {row["id"]: row for row in await db.fetch(_TABLE)}
            self._judge_answers(rows)
            found = await verify(db)
            self._report.verified = {"blocks": found.blocks, "events": found.events, "accounts": found.accounts}
            lines = b"".join([piece async for piece in export_lines(db, key=None, checkpoint=None)])
            if verify_lines(lines.splitlines(keepends=True))[0] != found:
                self._report.broken.append("the export is not the ledger")
            for asset, surplus in await db.fetch(
                "SELECT asset, sum(debits_posted - credits_posted) + sum(debits_pending - credits_pending)"
                " FROM ledger_accounts GROUP BY asset"
            ):
                if surplus:
                    self._report.broken.append(f"{asset} does not add up: {surplus}")
        except Wrong as wrong:
            self._report.broken.append(f"verify: {wrong}")
        finally:
            await db.close()
        try:
            await audit(self._server.url)  # another implementation
        except AssertionError:
            self._report.broken.append(f"the tests' own audit: {traceback.format_exc(limit=-1)}")

    def _judge_answers(self, rows: dict[str, asyncpg.Record]) -> None:
        """Every answer is a row, every row (but the ledger's own) an answer."""
        broken: list[str] = []
        for id_, (request, result) in self._book.answers.items():
            row = rows.get(id_)
            if row is None:
                broken.append(f"lost: {words(result)}")
                continue
            asked = (request.amount, request.debit_account_id, request.credit_account_id)
            if tuple(row)[4:7] != asked or row["refusal"] != result.refusal:
                broken.append(f"answered {words(result)}, recorded {dict(row)}")
            if result.transfer is not None and (result.transfer.seq, result.transfer.block) != tuple(row)[1:3]:
                broken.append(f"answered {words(result)}, recorded {dict(row)}")
        told = [result.transfer.seq for _, result in self._book.answers.values() if result.transfer]
        if len(set(told)) != len(told):
            broken.append("two transfers were told one place in the log")
        expiries = sum(row["kind"] == 5 for row in rows.values())
        if len(rows) != len(self._book.answers) + expiries + USERS:
            broken.append(f"{len(rows)} transfers are recorded, {len(self._book.answers)} were answered")
        self._report.broken += broken[:MOST_COMPLAINTS]

    # -- faults ----------------------------------------------------------------------------------------------

    async def _kill(self, kind: str) -> None:
        await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE_S))  # load between two kills, of any length
        hold = {"committed": Hold.ANSWERS, "sent": Hold.QUESTIONS, "any": Hold.NOTHING}[kind]
        self._gate.hold(hold)
        if hold is not Hold.NOTHING and not await self._moment(kind):
            self._report.missed += 1
            kind = "any"
        await self._until(lambda: self._pid() is not None, "there is a ledger to be killed")
        pid, begun, answered = self._pid(), time.monotonic(), len(self._book.answers)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self._report.kills[kind] += 1
        self._gate.hold(Hold.NOTHING)
        await self._until(lambda: self._pid() not in {None, pid}, "the ledger is up again")
        await self._until(lambda: len(self._book.answers) > answered, "a caller is answered again")
        self._report.back_s.append(time.monotonic() - begun)

    async def _moment(self, kind: str) -> bool:
        """Wait until the ledger's block is held at the gate; "committed": and is in the database, unknown to it."""
        deadline = time.monotonic() + MOMENT_S
        async with self._direct() as db:
            while time.monotonic() < deadline:
                if not self._gate.held:
                    await asyncio.sleep(0.002)
                    continue
                if kind == "sent":
                    return True
                height = await db.fetchval("SELECT coalesce(max(height), 0) FROM ledger_blocks")
                try:
                    head = await self._tree.node.call(LEDGER, GetHead(), timeout_s=1.0)
                except (DatabaseUnavailable, RuntimeFault):
                    # It ended by itself (the server process of the one before had a block to commit yet), and the next
                    # one waits for the answer with the head.
                    await asyncio.sleep(0.01)
                else:
                    if height > getattr(head, "height", height):
                        return True
                # The answer to something else is held: let it go, and wait for the next one.
                self._gate.hold(Hold.NOTHING)
                self._gate.hold(Hold.ANSWERS)
        return False

    async def _restart_server(self, number: int) -> None:
        """Stop PostgreSQL and start it again; of the ledgers, some die while it is away."""
        immediate = self._report.restarts["immediate"] <= self._report.restarts["fast"]
        self._report.restarts["immediate" if immediate else "fast"] += 1
        await asyncio.to_thread(self._server.stop, immediate=immediate)
        if self._chance.random() < 0.5 and (pid := self._pid()) is not None:
            os.kill(pid, signal.SIGKILL)
            self._report.kills["without a database"] += 1
        await asyncio.to_thread(self._server.start)
        answered = len(self._book.answers)
        await self._until(lambda: len(self._book.answers) > answered, f"answers after restart {number}")

    # -- beneath ---------------------------------------------------------------------------------------------

    async def _has_head(self) -> bool:
        try:
            await self._tree.ask(LEDGER, GetHead())
        except DatabaseUnavailable:
            return False
        return True

    def _pid(self) -> int | None:
        info = self._tree.node.whereis(LEDGER)
        return None if info is None else info.pid

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + BACK_WITHIN_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {BACK_WITHIN_S} s: {what}; {self._report.as_dict()}")
            await asyncio.sleep(0.002)

    @asynccontextmanager
    async def _direct(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        db = await asyncpg.connect(self._server.url, timeout=MOMENT_S)
        try:
            yield db
        finally:
            db.terminate()

    def _show(self, done: int, of: int) -> None:
        counts = self._book.counts
        self._progress(
            f"{done:>4} of {of} kills  posted {counts['posted']:>8}  refused {counts['refused']:>6}  "
            f"asked again {counts['asked again']:>6}  slowest answer {self._book.slowest_s:5.2f} s  "
            f"broken {len(self._book.complaints)}"
        )


def chaos(directory: Path, seed: int, kills: int, restarts: int, progress: Callable[[str], None]) -> Report:
    """Run it in `directory`, of a process without threads and loops."""
    report = Report(seed)
    gated = directory / "gate"
    gated.mkdir()
    with EmbeddedPostgres(directory / "postgresql") as server:
        migrator.migrate(server.url)
        socket = next(server.socket_directory.glob(".s.PGSQL.*[0-9]"))
        gate = Gate(gated / socket.name, socket)
        settings = Settings(
            profile="test",
            data_dir=directory / "var",
            log_format="json",
            log_level="error",
            database_url=server.url.replace(str(server.socket_directory), str(gated)),
        )
        use(settings)
        one = Chaos(server, gate, report, progress)

        async def scenario(tree: Tree) -> None:
            await gate.open()
            try:
                await one.run(tree, kills, restarts)
            finally:
                await gate.close()

        try:
            run(scenario)
            asyncio.run(one.judge())
        except AssertionError as error:
            report.broken.append(str(error))
    return report


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    kept = os.dup(sys.stderr.fileno())
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
        yield
    finally:
        os.dup2(kept, sys.stderr.fileno())
        os.close(kept)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=10, help="of PostgreSQL")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bitnexus-chaos-") as directory:
        log = Path(directory, "log")
        try:
            with _stderr_to(log):  # also that of the processes to be started
                report = chaos(
                    Path(directory),
                    options.seed,
                    options.kills,
                    options.restarts,
                    lambda line: print(f"{time.monotonic() - begun:6.0f} s {line}", flush=True),
                )
        except BaseException:
            print(log.read_text(errors="replace")[-LOG_TAIL:])
            raise
        if report.broken:
            print(log.read_text(errors="replace")[-LOG_TAIL:])
    print(json.dumps(report.as_dict(), indent=2))
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
