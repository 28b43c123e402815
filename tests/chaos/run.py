"""One run: opens accounts, lets the clients work, first in peace and then under faults, brings all to rest, judges."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from tests.chaos.asking import Asker, Tally
from tests.chaos.checks import check
from tests.chaos.excuses import Trouble, under_way, unexcused
from tests.chaos.faults import Faults
from tests.chaos.history import Books, History
from tests.chaos.listener import Listener
from tests.chaos.load import Auditor, Batcher, Buyer, Client, Payer, Reader, Reserver
from tests.chaos.report import Report, by_kind, in_words
from tests.chaos.schedule import Schedule, Step
from tests.chaos.target import Own, Target
from tests.chaos.verdict import read_books, verify
from tests.customers import ADMIN_EMAIL, Customer, Teller, session_with
from tests.integration import ledger_harness

KINDS: Final[tuple[type[Client], ...]] = (
    *(Payer,) * 8, Batcher, *(Reserver,) * 2, *(Buyer,) * 2, *(Reader,) * 2
)  # fmt: skip
LISTENERS: Final = 4
FUNDS: Final = 10**9
STOCK: Final = 10**9
PRICE: Final = 7
#: Between two requests of a client, on the average.
PAUSE_S: Final = 0.02
#: Without faults, of the whole run, before they begin.
CALM_PART, LONGEST_CALM_S = 0.2, 60.0
#: Faults that are under way at once.
AT_ONCE: Final = 2
#: After the last fault, in which all faults must have been recovered from.
RECOVERED_WITHIN_S: Final = 90.0
#: After the last request, in which events still come.
REST_S: Final = 3.0
ENDED_WITHIN_S: Final = 150.0
_SHOWN_EVERY_S: Final = 1.0


@dataclass(slots=True)
class State:
    """What a display shows."""

    phase: str = "opening accounts"
    elapsed_s: float = 0.0
    seconds: float = 0.0
    faults: int = 0
    now: dict[int, str] = field(default_factory=dict)
    requests: int = 0
    answered: int = 0
    longest_gap_s: float = 0.0
    troubles: int = 0
    complaints: int = 0


Show = Callable[[State], None]


class Run:
    """A run of `seconds` against `target`."""

    def __init__(self, target: Target, seed: int, seconds: float, show: Show, pause_s: float = PAUSE_S) -> None:
        self._target = target
        self._random = random.Random(seed)
        self._schedule = Schedule(seed, target.skipped)
        self._report = Report(seed, seconds, skipped=target.skipped)
        self._seconds = seconds
        self._pause_s = pause_s
        self._show = show
        self._state = State(seconds=seconds)
        self._history, self._tally = History(), Tally()
        self._stop_paying, self._stop_listening = asyncio.Event(), asyncio.Event()
        self._faults: Faults
        self._payers: list[Payer] = []

    async def run(self) -> Report:
        """All of it."""
        async with session_with(self._target) as session:
            clients, listeners = await self._open(session)
        tasks = [asyncio.ensure_future(client.run(self._stop_paying, self._pause_s)) for client in clients]
        ears = [asyncio.ensure_future(listener.run(self._stop_listening)) for listener in listeners]
        showing = asyncio.ensure_future(self._show_for_ever())
        try:
            await self._calm()
            await self._chaos([*tasks, *ears])
            await self._come_to_rest(tasks, ears)
        finally:
            showing.cancel()
            for task in (*tasks, *ears):
                task.cancel()
            await asyncio.gather(showing, *tasks, *ears, return_exceptions=True)
        await self._judge()
        return self._report

    # -- the clients -----------------------------------------------------------------------------------------

    async def _open(self, session: aiohttp.ClientSession) -> tuple[list[Client], list[Listener]]:
        mark = uuid.uuid4().hex[:12]
        teller = await Teller.begin(self._target, session, f"{mark}-{ADMIN_EMAIL}")
        customers = await teller.customers(len(KINDS) + 1, funds=FUNDS, named=mark)
        *customers, poisoned = customers
        for_sale = await teller.product(mark.upper(), price=PRICE, stock=STOCK)
        admin = await teller.admin()
        self._faults = Faults(self._target, admin, poisoned)
        clients: list[Client] = []
        for number, (kind, customer) in enumerate(zip(KINDS, customers, strict=True)):
            others = [other for other in customers if other is not customer]
            of = customers[number % LISTENERS] if kind is Reader else customer
            clients.append(self._client(kind, f"{kind.__name__}-{number}", of, others))
            if isinstance(clients[-1], Buyer):
                clients[-1].product_id = for_sale
        clients.append(self._client(Auditor, "Auditor", admin, customers))
        self._payers = [client for client in clients if isinstance(client, Payer)]
        port = self._target.port
        listeners = [
            Listener(f"Listener-{number}", port, customers[number], self._history, self._tally)
            for number in range(LISTENERS)
        ]
        return clients, listeners

    def _client(self, kind: type[Client], name: str, customer: Customer, others: list[Customer]) -> Client:
        asker = Asker(name, self._target.port, self._tally)
        return kind(customer, others, asker, self._history, random.Random(self._random.getrandbits(64)))

    # -- the phases ------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        self._state.phase = "without faults"
        calm_s = min(LONGEST_CALM_S, CALM_PART * self._seconds)
        await asyncio.sleep(1.0)  # everybody has begun
        answered, begun_at = self._tally.answered, time.monotonic()
        await asyncio.sleep(calm_s)
        self._report.throughput_without_faults = (self._tally.answered - answered) / (time.monotonic() - begun_at)

    async def _chaos(self, tasks: Sequence[asyncio.Future[None]]) -> None:
        self._state.phase = "under faults"
        self._tally.mark()
        answered, begun_at = self._tally.answered, time.monotonic()
        room, doing = asyncio.Semaphore(AT_ONCE), list[asyncio.Task[None]]()
        while (elapsed := time.monotonic() - begun_at) < self._seconds:
            self._state.elapsed_s = elapsed
            for task in (*tasks, *doing):
                if task.done():
                    task.result()
            doing = [task for task in doing if not task.done()]
            await self._revive()
            await room.acquire()
            step = self._schedule.next(time.monotonic())
            doing.append(asyncio.create_task(self._do(step, room)))
            await asyncio.sleep(step.pause_s)
        if doing:
            done, late = await asyncio.wait(doing, timeout=RECOVERED_WITHIN_S)
            self._report.complaints += [f"after {RECOVERED_WITHIN_S} s still: {task}" for task in late]
            for task in done:
                task.result()
        self._report.seconds = time.monotonic() - begun_at
        self._report.throughput = (self._tally.answered - answered) / self._report.seconds
        self._report.longest_gap_s, self._report.slowest_s = self._tally.longest_gap_s, self._tally.slowest_s

    async def _do(self, step: Step, room: asyncio.Semaphore) -> None:
        key = id(step)
        self._state.now[key] = step.kind
        try:
            await self._faults.do(step)
        finally:
            del self._state.now[key]
            room.release()

    async def _revive(self) -> None:
        """What systemd would do. A heart that was not killed has given up, which it must not for what is done here."""
        if not isinstance(self._target, Own) or self._faults.node_lock.locked():
            return
        code = self._target.ended()
        if code is not None:
            self._report.complaints.append(f"the heart ended with {code}:\n{self._target.last_lines()}")
            await asyncio.to_thread(self._target.revive)

    async def _come_to_rest(self, tasks: Sequence[asyncio.Future[None]], ears: Sequence[asyncio.Future[None]]) -> None:
        self._state.phase = "coming to rest"
        self._stop_paying.set()
        try:
            async with asyncio.timeout(ENDED_WITHIN_S):
                await asyncio.gather(*tasks)
                self._state.phase = "asking again"
                await asyncio.gather(*(payer.ask_again() for payer in self._payers))
        except TimeoutError:
            self._report.complaints.append(f"not everybody was answered {ENDED_WITHIN_S:.0f} s after the last fault")
        await asyncio.sleep(REST_S)
        self._stop_listening.set()
        async with asyncio.timeout(ENDED_WITHIN_S):
            await asyncio.gather(*ears)

    # -- the verdict -----------------------------------------------------------------------------------------

    async def _judge(self) -> None:
        self._state.phase = "judging"
        self._show(self._state)
        report, tally, history, faults = self._report, self._tally, self._history, self._faults
        report.requests, report.refused_unavailable = tally.requests, tally.refused_unavailable
        report.faults, report.passed_over, report.back_s = faults.counts, faults.passed_over, faults.back_s
        report.complaints += faults.complaints
        bad = unexcused(tally.troubles, faults.journal.outages, faults.fronts)
        report.failed = [
            *tally.unanswered,
            *(in_words(trouble, under_way(faults.journal.outages, trouble.at)) for trouble in bad),
        ]
        report.excused = by_kind(_without(tally.troubles, bad))
        if isinstance(self._target, Own):
            faults.journal.write(self._target.directory / "journal.jsonl")
            (self._target.directory / "failed").write_text("\n".join(report.failed))
            report.complaints += await asyncio.to_thread(self._target.stop)
        books = await self._verified_books()
        report.violations = await asyncio.to_thread(check, history, books)
        report.checked = {
            "answers about transfers": len(history.told),
            "pages": len(history.pages),
            "balances": len(history.balances),
            "trial balances": len(history.trials),
            "events": sum(len(listening.heard) for listening in history.listenings),
            "connections to channels": len(history.listenings),
            "transfers recorded": len(books.rows),
        }

    async def _verified_books(self) -> Books:
        """What the ledger holds, after two have looked whether it adds up: the service's own command, and ours."""
        complaint = await verify(self._target.environment, self._target.directory)
        if complaint is not None:
            self._report.complaints.append(f"ledger verify: {complaint}")
        if isinstance(self._target, Own):
            try:
                await ledger_harness.audit(self._target.database_url)
            except AssertionError:
                self._report.complaints.append(f"the tests' own audit: {traceback.format_exc(limit=-1)}")
        return await read_books(self._target.database_url)

    async def _show_for_ever(self) -> None:
        while True:
            state, tally = self._state, self._tally
            state.requests, state.answered, state.longest_gap_s = tally.requests, tally.answered, tally.longest_gap_s
            state.faults, state.complaints = sum(self._faults.counts.values()), len(self._faults.complaints)
            state.troubles = len(tally.troubles)
            self._show(state)
            await asyncio.sleep(_SHOWN_EVERY_S)


def _without(troubles: list[Trouble], bad: list[Trouble]) -> list[Trouble]:
    identities = {id(trouble) for trouble in bad}
    return [trouble for trouble in troubles if id(trouble) not in identities]
